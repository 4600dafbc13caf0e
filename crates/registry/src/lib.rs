//! Configuration of syntrix-storage: from YAML to a checked plan.
#![allow(dead_code)]
mod finding;
mod yaml;
