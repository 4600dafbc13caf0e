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

/// A string literal that means the same whatever `standard_conforming_strings` and `backslash_quote` are.
pub(crate) fn push_literal(sql: &mut String, text: &str) {
    sql.push_str(if text.contains('\\') { "E'" } else { "'" });
    for character in text.chars() {
        if matches!(character, '\'' | '\\') {
            sql.push(character);
        }
        sql.push(character);
    }
    sql.push('\'');
}
