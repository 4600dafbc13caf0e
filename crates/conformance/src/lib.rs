//! Public conformance suite of syntrix-storage.
