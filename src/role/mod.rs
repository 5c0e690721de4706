//! Roles and templates, expanded into the resources of a host.
