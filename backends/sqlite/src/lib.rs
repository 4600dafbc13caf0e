//! SQLite backend of syntrix-storage.
