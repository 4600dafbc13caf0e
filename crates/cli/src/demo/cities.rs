//! The GeoNames cities, compiled in so that the demo runs from any folder.

use serde_json::Value;
use syntrix_storage::{DocumentPath, Error, ErrorKind, Result};

/// One JSON object per line; the line number is the document's id.
const CITIES: &str = include_str!("../../../../data/cities.ndjson");
/// Owed wherever the data is shown.
pub(super) const CREDIT: &str = "City data © GeoNames, CC BY 4.0";

/// A city as the file has it, and where the demo stores it.
pub(super) struct City {
    pub(super) path: DocumentPath,
    pub(super) data: Value,
}

impl City {
    /// A text member of the data; empty if it is missing.
    pub(super) fn text(&self, member: &str) -> &str {
        self.data[member].as_str().unwrap_or_default()
    }
}

/// Every city, in the order of the file.
pub(super) fn all() -> Result<Vec<City>> {
    CITIES.lines().enumerate().map(|(index, line)| parse(index + 1, line)).collect()
}

fn parse(number: usize, line: &str) -> Result<City> {
    let data: Value = serde_json::from_str(line).map_err(|error| {
        Error::new(ErrorKind::Internal, "demo")
            .with_message("a line of the city data is no JSON")
            .with_fact("line", number)
            .with_source(error)
    })?;
    let country = data["country"].as_str().unwrap_or_default();
    let path = DocumentPath::parse(&format!("countries/{country}/cities/{number}"))?;
    Ok(City { path, data })
}
