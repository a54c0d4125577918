//! Short tasks do not wait for the planner, and who has nothing to do does nothing.
