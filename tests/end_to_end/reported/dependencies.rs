//! Jobs that run after the failure or the end of another, or element after element.
