//! Throwaway hosts on this machine.
