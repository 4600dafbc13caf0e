//! Routes of syntrix-storage: which database answers which operation.
