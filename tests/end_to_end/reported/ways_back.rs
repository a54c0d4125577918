//! A failed job, a budget that is used up, a deadline that is too early: there is a way back.
