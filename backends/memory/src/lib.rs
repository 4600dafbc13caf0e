//! In-memory backend of syntrix-storage: the oracle of its tests.
