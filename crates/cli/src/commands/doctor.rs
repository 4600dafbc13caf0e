//! `doctor`: what is open and how it is.

use std::time::Duration;

use serde_json::{Map, Value};
use syntrix_storage::backend::StoreKind;
use syntrix_storage::{IndexStatus, Storage, StoreHealth};

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
    stores: Vec<StoreHealth>,
    /// Of the documents, if they are open.
    indexes: Option<Vec<IndexStatus>>,
}

async fn examine(storage: &Storage) -> Result<Examined, Failure> {
    let stores = storage.health().await?;
    let indexes = match storage.document_admin() {
        Ok(admin) => Some(admin.list_indexes().await?),
        Err(_) => None,
    };
    Ok(Examined { stores, indexes })
}

impl Examined {
    fn verdict(&self) -> Result<(), Failure> {
        if self.stores.is_empty() {
            return Err(Failure::negative(
                "doctor",
                "no store is open; the configuration names none that this release opens",
            ));
        }
        match self.stores.iter().find(|store| !store.report.ready) {
            Some(StoreHealth { store, report, .. }) => Err(Failure::negative(
                "doctor",
                format!("{} on {} is not ready", store.as_str(), report.backend),
            )),
            None => Ok(()),
        }
    }

    /// One object per store, with facts as members.
    fn rows(&self) -> Vec<Map<String, Value>> {
        self.stores.iter().map(|store| self.row(store)).collect()
    }

    fn row(&self, store: &StoreHealth) -> Map<String, Value> {
        let mut row = match serde_json::to_value(store) {
            Ok(Value::Object(members)) => members,
            _ => Map::new(),
        };
        let facts = store.report.facts.iter().map(|(name, value)| (name.clone(), fact(value)));
        row.insert("facts".into(), Value::Object(facts.collect()));
        row.insert("latencyMs".into(), thousandths(store.report.latency).into());
        if let (StoreKind::Documents, Some(indexes)) = (store.store, &self.indexes) {
            let indexes = indexes.iter().map(|status| Value::Object(index::row(status)));
            row.insert("indexes".into(), indexes.collect());
        }
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
    match examined.indexes.as_deref() {
        None => Ok(()),
        Some([]) => output.line("no composite indexes"),
        Some(indexes) => index::print(indexes, output),
    }
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
