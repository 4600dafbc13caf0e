//! Names in SQL text.

/// Where statements name the store's schema.
const SCHEMA: &str = "{schema}";

/// `template` for the tables of `schema`, which is a checked name.
pub(crate) fn in_schema(template: &str, schema: &str) -> String {
    template.replace(SCHEMA, &identifier(schema))
}

/// A name as SQL writes it.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The inside of a string literal, with `standard_conforming_strings` on.
pub(crate) fn push_doubled(sql: &mut String, text: &str) {
    for (position, part) in text.split('\'').enumerate() {
        sql.push_str(if position > 0 { "''" } else { "" });
        sql.push_str(part);
    }
}
