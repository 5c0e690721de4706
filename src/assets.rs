//! Roles and templates built into the binary, and how a site overrides them, file by file.
