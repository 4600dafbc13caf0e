//! Command line of syntrix-storage.
