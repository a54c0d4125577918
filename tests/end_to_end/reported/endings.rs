//! A stop that was delivered is a stop, whatever the exit code says.
