//! Scripts are users: output is complete or says that it is not.
