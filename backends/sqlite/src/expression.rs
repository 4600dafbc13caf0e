//! Fields, patterns and index definitions in SQLite's language.
//!
//! The expressions of an index and of a query must be equal token by token, or the planner does not use the index; both come
//! from here. Changing one makes every index declared so far useless.

use syntrix_storage_core::{
    CollectionPattern, Direction, Field, IndexDefinition, PatternSegment, ScalarType, SystemField,
};

/// Room for a path of a few short keys.
const PATH_BYTES_EXPECTED: usize = 64;

/// A field as an SQL expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    /// A column that holds values of one type and is never null.
    Column { name: &'static str, scalar_type: ScalarType },
    /// A place in `data`: the JSON path as an SQL literal.
    Data { path: String },
}

impl Expression {
    pub(crate) fn of(field: &Field) -> Self {
        match field {
            Field::System(field) => {
                let (name, scalar_type) = column(*field);
                Self::Column { name, scalar_type }
            }
            Field::Data(path) => {
                let mut literal = String::with_capacity(PATH_BYTES_EXPECTED);
                literal.push_str("'$");
                for key in path.keys() {
                    literal.push('.');
                    push_key(&mut literal, key);
                }
                literal.push('\'');
                Self::Data { path: literal }
            }
        }
    }

    /// R: the type's number in canonical order, NULL for what is not comparable. Columns have none.
    pub(crate) fn push_rank(&self, sql: &mut String) {
        let Self::Data { path } = self else { return };
        sql.push_str("(CASE json_type(data,");
        sql.push_str(path);
        sql.push_str(
            ") WHEN 'null' THEN 1 WHEN 'integer' THEN 2 WHEN 'real' THEN 2 WHEN 'text' THEN CASE WHEN \
             length(CAST(json_extract(data,",
        );
        sql.push_str(path);
        sql.push_str(") AS BLOB)) <= 512 THEN 3 END WHEN 'true' THEN 4 WHEN 'false' THEN 4 END)");
    }

    /// V: the value itself.
    pub(crate) fn push_value(&self, sql: &mut String) {
        match self {
            Self::Column { name, .. } => sql.push_str(name),
            Self::Data { path } => {
                sql.push_str("json_extract(data,");
                sql.push_str(path);
                sql.push(')');
            }
        }
    }

    /// The JSON type's name, NULL if the field is missing. Columns have none.
    pub(crate) fn push_json_type(&self, sql: &mut String) {
        let Self::Data { path } = self else { return };
        sql.push_str("json_type(data,");
        sql.push_str(path);
        sql.push(')');
    }

    /// The elements, as a table `e`. Columns have none.
    pub(crate) fn push_elements(&self, sql: &mut String) {
        let Self::Data { path } = self else { return };
        sql.push_str("json_each(data,");
        sql.push_str(path);
        sql.push_str(") AS e");
    }
}

fn column(field: SystemField) -> (&'static str, ScalarType) {
    match field {
        SystemField::Fullpath => ("fullpath", ScalarType::String),
        SystemField::Collection => ("collection", ScalarType::String),
        SystemField::Parent => ("parent", ScalarType::String),
        SystemField::CreatedAt => ("created_at", ScalarType::Number),
        SystemField::UpdatedAt => ("updated_at", ScalarType::Number),
        SystemField::Version => ("version", ScalarType::Number),
        SystemField::Deleted => ("deleted", ScalarType::Bool),
    }
}

/// The statement that builds `index`.
pub(crate) fn create_index(index: &IndexDefinition) -> String {
    let mut sql = format!("CREATE INDEX {} ON documents (collection", identifier(index.name()));
    let mut condition = String::new();
    push_glob(&mut condition, index.pattern());
    for term in index.fields() {
        let expression = Expression::of(term.field());
        if let Expression::Data { .. } = expression {
            sql.push_str(", ");
            expression.push_rank(&mut sql);
            sql.push_str(direction(term.direction()));
            condition.push_str(" AND ");
            expression.push_rank(&mut condition);
            condition.push_str(" IS NOT NULL");
        }
        sql.push_str(", ");
        expression.push_value(&mut sql);
        sql.push_str(direction(term.direction()));
    }
    let last = index.fields().last().map_or(Direction::Ascending, |term| term.direction());
    sql.push_str(", id");
    sql.push_str(direction(last));
    sql.push_str(") WHERE ");
    sql + &condition
}

pub(crate) fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Ascending => "",
        Direction::Descending => " DESC",
    }
}

/// The partial predicate of every index with `pattern`; queries repeat it to qualify.
///
/// `*` in GLOB also matches deeper paths: a superset, harmless beside `collection = ?`.
pub(crate) fn push_glob(sql: &mut String, pattern: &CollectionPattern) {
    let mut glob = String::new();
    for (position, segment) in pattern.segments().enumerate() {
        if position > 0 {
            glob.push('/');
        }
        match segment {
            PatternSegment::Any => glob.push('*'),
            PatternSegment::Collection(text) | PatternSegment::Document(text) => {
                push_glob_escaped(&mut glob, text);
            }
        }
    }
    sql.push_str("collection GLOB '");
    push_doubled(sql, &glob);
    sql.push('\'');
}

fn push_glob_escaped(glob: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '*' | '?' | '[' => glob.extend(['[', character, ']']),
            other => glob.push(other),
        }
    }
}

/// A key of a JSON path inside an SQL literal.
fn push_key(literal: &mut String, key: &str) {
    // Nearly every key is written as it is, and this runs for each field of each query.
    if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        literal.extend(["\"", key, "\""]);
    } else {
        push_doubled(literal, &json_string(key));
    }
}

/// A JSON string literal. A path finds a key only if quotes, backslashes and control characters are escaped.
pub(crate) fn json_string(key: &str) -> String {
    serde_json::Value::from(key).to_string()
}

/// The inside of an SQL string literal.
fn push_doubled(sql: &mut String, text: &str) {
    for (position, part) in text.split('\'').enumerate() {
        sql.push_str(if position > 0 { "''" } else { "" });
        sql.push_str(part);
    }
}

pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use syntrix_storage_core::OrderBy;

    use super::*;

    fn value_of(field: &str) -> String {
        let mut sql = String::new();
        Expression::of(&Field::parse(field).expect("field")).push_value(&mut sql);
        sql
    }

    #[test]
    fn keys_are_json_strings_inside_an_sql_literal() {
        assert_eq!(value_of("`o\"d.d'`"), r#"json_extract(data,'$."o\"d.d''"')"#);
        assert_eq!(value_of("``.x"), r#"json_extract(data,'$."".x')"#.replace(".x", ".\"x\""));
        assert_eq!(value_of("a\\b"), r#"json_extract(data,'$."a\\b"')"#);
    }

    #[test]
    fn pattern_characters_in_names_are_escaped_and_only_a_document_star_is_one() {
        let pattern = CollectionPattern::parse("a_b/*/c%[*\\?'").expect("pattern");
        let mut sql = String::new();
        push_glob(&mut sql, &pattern);
        assert_eq!(sql, "collection GLOB 'a_b/*/c%[[][*]\\[?]'''");
    }

    #[test]
    fn the_definition_of_an_index_is_the_documented_one() {
        let fields = vec![
            OrderBy::new("room", Direction::Ascending).expect("field"),
            OrderBy::new("updatedAt", Direction::Descending).expect("field"),
        ];
        let index = IndexDefinition::new("rooms/*/messages", fields).expect("index");
        let rank = "(CASE json_type(data,'$.\"room\"') WHEN 'null' THEN 1 WHEN 'integer' THEN 2 WHEN 'real' THEN 2 \
                    WHEN 'text' THEN CASE WHEN length(CAST(json_extract(data,'$.\"room\"') AS BLOB)) <= 512 THEN 3 END \
                    WHEN 'true' THEN 4 WHEN 'false' THEN 4 END)";
        let expected = format!(
            "CREATE INDEX \"{}\" ON documents (collection, {rank}, json_extract(data,'$.\"room\"'), updated_at DESC, \
             id DESC) WHERE collection GLOB 'rooms/*/messages' AND {rank} IS NOT NULL",
            index.name()
        );
        assert_eq!(create_index(&index), expected);
    }
}
