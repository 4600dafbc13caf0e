//! The one implementation of the public traits of syntrix-storage over a thin backend.
