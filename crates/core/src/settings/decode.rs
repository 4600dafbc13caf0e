//! From a node to a type, through serde, with the place of every fault.

mod fault;
mod reader;

use serde::de::DeserializeOwned;

use super::SettingsNode;
use crate::error::Result;

pub(super) fn decode<T: DeserializeOwned>(node: &SettingsNode) -> Result<T> {
    T::deserialize(reader::Reader(node))
        .map_err(|fault| fault.at_node(node, node.location).into_error())
}

#[cfg(test)]
mod tests;
