//! Configuration of syntrix-storage: from YAML to a checked plan.
