//! What would change, as data and as text.
