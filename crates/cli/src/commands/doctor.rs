//! `doctor`: what is open and how it is.

use std::time::Duration;

use serde_json::{Map, Value};
use syntrix_storage::{Capabilities, HealthReport, IndexStatus, Storage};

use crate::args::Format;
use crate::commands::index;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

pub(crate) async fn run(session: &mut Session) -> Result<(), Failure> {
    session
        .with_storage(async |storage, output| {
            let examined = examine(storage).await?;
            print(&examined, output)?;
            output.flush()?;
            examined.verdict()
        })
        .await
}

/// Everything there is to say about the open stores.
struct Examined {
    stores: Vec<HealthReport>,
    /// Of the documents, if they are open.
    capabilities: Option<Capabilities>,
    indexes: Vec<IndexStatus>,
}

async fn examine(storage: &Storage) -> Result<Examined, Failure> {
    let stores = storage.health().await?;
    let Ok(admin) = storage.document_admin() else {
        return Ok(Examined { stores, capabilities: None, indexes: Vec::new() });
    };
    let indexes = admin.list_indexes().await?;
    Ok(Examined { stores, capabilities: Some(admin.capabilities()), indexes })
}

impl Examined {
    fn verdict(&self) -> Result<(), Failure> {
        if self.stores.is_empty() {
            return Err(Failure::negative(
                "doctor",
                "no store is open; the configuration names none that this release opens",
            ));
        }
        match self.stores.iter().find(|store| !store.ready) {
            Some(store) => {
                Err(Failure::negative("doctor", format!("{} is not ready", store.backend)))
            }
            None => Ok(()),
        }
    }

    /// One object per store, with facts as members.
    fn rows(&self) -> Vec<Map<String, Value>> {
        self.stores.iter().map(|store| self.row(store)).collect()
    }

    fn row(&self, store: &HealthReport) -> Map<String, Value> {
        let mut row = match serde_json::to_value(store) {
            Ok(Value::Object(members)) => members,
            _ => Map::new(),
        };
        let facts = store.facts.iter().map(|(name, value)| (name.clone(), fact(value)));
        row.insert("store".into(), "documents".into());
        row.insert("facts".into(), Value::Object(facts.collect()));
        if let Some(capabilities) = self.capabilities {
            row.insert(
                "capabilities".into(),
                serde_json::to_value(capabilities).unwrap_or_default(),
            );
        }
        row.insert("latencyMs".into(), thousandths(store.latency).into());
        let indexes = self.indexes.iter().map(|status| Value::Object(index::row(status)));
        row.insert("indexes".into(), indexes.collect());
        row
    }
}

/// Milliseconds; finer figures mean nothing here.
fn thousandths(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Facts are text; those that are plain numbers are printed as such.
fn fact(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) => number.into(),
        Err(_) => text.into(),
    }
}

fn print(examined: &Examined, output: &mut Output) -> Result<(), Failure> {
    let rows = examined.rows();
    if output.format() == Format::Json {
        return output.objects(&rows);
    }
    for row in &rows {
        output.object(&flattened(row))?;
    }
    if examined.indexes.is_empty() {
        return output.line("no composite indexes");
    }
    index::print(&examined.indexes, output)
}

/// For people: facts and capabilities as rows of their own, indexes in a table of their own.
fn flattened(row: &Map<String, Value>) -> Map<String, Value> {
    let mut flat = Map::new();
    for (name, value) in row {
        match (name.as_str(), value) {
            ("indexes", _) => {}
            ("facts", Value::Object(members)) => flat.extend(members.clone()),
            ("capabilities", Value::Object(members)) => {
                let offered = members.iter().filter(|(_, value)| **value == Value::Bool(true));
                let names: Vec<_> = offered.map(|(name, _)| name.as_str()).collect();
                flat.insert("offers".into(), names.join(", ").into());
            }
            _ => {
                flat.insert(name.clone(), value.clone());
            }
        }
    }
    flat
}
