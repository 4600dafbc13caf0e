//! Fields, patterns and index definitions in PostgreSQL's language.
//!
//! The expressions of an index and of a query must be equal, or the planner does not use the index; both come from here.
//! Changing one makes every index declared so far useless.

use syntrix_storage_core::{
    CollectionPattern, Direction, Field, IndexDefinition, PatternSegment, ScalarType, SystemField,
};

use crate::sql::{identifier, push_literal};

/// Maps a comparable value to text whose bytes sort as the values do; NULL for every other value.
///
/// `1` null; `2` and the floor as 16 hexadecimal digits with the sign flipped, then the decimal fraction; `2z` and `2!` for
/// doubles beyond i64; `3` and the text; `4f`, `4t`. Native comparison of `jsonb` follows the database's collation instead.
pub(crate) const KEY_FUNCTION: &str = r"
CREATE FUNCTION {schema}.ds_key(v jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
DECLARE t text := jsonb_typeof(v); n numeric; f numeric; s text;
BEGIN
  IF t = 'number' THEN
    n := v::numeric;
    IF n >= 9223372036854775808 THEN
      RETURN '2z' || lpad(to_hex(('x' || encode(float8send(n::float8),'hex'))::bit(64)::bigint),16,'0');
    ELSIF n < -9223372036854775808 THEN
      RETURN '2!' || lpad(to_hex(~(('x' || encode(float8send(n::float8),'hex'))::bit(64)::bigint)),16,'0');
    END IF;
    f := floor(n);
    s := '2' || lpad(to_hex(f::bigint # (-9223372036854775808)::bigint),16,'0');
    IF f <> n THEN s := s || substr(trim_scale(n - f)::text, 3); END IF;
    RETURN s;
  ELSIF t = 'string' THEN
    s := v #>> '{}';
    IF octet_length(s) > 512 THEN RETURN NULL; END IF;
    RETURN '3' || s;
  ELSIF t = 'boolean' THEN RETURN CASE WHEN v::boolean THEN '4t' ELSE '4f' END;
  ELSIF t = 'null' THEN RETURN '1';
  END IF;
  RETURN NULL;
END $$;
";

/// A field as an SQL expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    /// A column that holds values of one type and is never null.
    Column { name: &'static str, scalar_type: ScalarType },
    /// A place in `data`, as `jsonb`: X of the documentation.
    Data { value: String },
}

impl Expression {
    pub(crate) fn of(field: &Field) -> Self {
        match field {
            Field::System(field) => {
                let (name, scalar_type) = column(*field);
                Self::Column { name, scalar_type }
            }
            Field::Data(path) => {
                let mut value = String::from("data");
                for key in path.keys() {
                    // Text keys never walk into arrays, as `#>` would.
                    value.push_str("->");
                    push_literal(&mut value, key);
                    value.push_str("::text");
                }
                Self::Data { value }
            }
        }
    }

    /// The column, or the key of the place without a collation: what an index's condition says, word for word.
    pub(crate) fn push_key(&self, sql: &mut String, schema: &str) {
        match self {
            Self::Column { name, .. } => sql.push_str(name),
            Self::Data { value } => {
                sql.push_str(&identifier(schema));
                sql.push_str(".ds_key(");
                sql.push_str(value);
                sql.push(')');
            }
        }
    }

    /// K: what is compared and ordered.
    pub(crate) fn push_ordered(&self, sql: &mut String, schema: &str) {
        match self {
            Self::Column { name, .. } => sql.push_str(name),
            Self::Data { .. } => {
                sql.push('(');
                self.push_key(sql, schema);
                sql.push_str(") COLLATE \"C\"");
            }
        }
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

/// The statement that builds `index` while others read and write.
pub(crate) fn create_index(index: &IndexDefinition, schema: &str) -> String {
    let (name, tables) = (identifier(index.name()), identifier(schema));
    let mut sql = format!("CREATE INDEX CONCURRENTLY {name} ON {tables}.documents (collection");
    let mut condition = String::new();
    push_like(&mut condition, index.pattern());
    for term in index.fields() {
        let expression = Expression::of(term.field());
        sql.push_str(", ");
        expression.push_ordered(&mut sql, schema);
        sql.push_str(direction(term.direction()));
        if let Expression::Data { .. } = expression {
            condition.push_str(" AND ");
            expression.push_key(&mut condition, schema);
            condition.push_str(" IS NOT NULL");
        }
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
/// `%` also matches deeper paths: a superset, harmless beside `collection = …`.
pub(crate) fn push_like(sql: &mut String, pattern: &CollectionPattern) {
    let mut like = String::new();
    for (position, segment) in pattern.segments().enumerate() {
        if position > 0 {
            like.push('/');
        }
        match segment {
            PatternSegment::Any => like.push('%'),
            PatternSegment::Collection(text) | PatternSegment::Document(text) => {
                push_like_escaped(&mut like, text);
            }
        }
    }
    sql.push_str("collection LIKE ");
    push_literal(sql, &like);
}

fn push_like_escaped(like: &mut String, text: &str) {
    for character in text.chars() {
        if matches!(character, '\\' | '%' | '_') {
            like.push('\\');
        }
        like.push(character);
    }
}

#[cfg(test)]
mod tests {
    use syntrix_storage_core::OrderBy;

    use super::*;

    fn value_of(field: &str) -> String {
        match Expression::of(&Field::parse(field).expect("field")) {
            Expression::Data { value } => value,
            column => panic!("{column:?}"),
        }
    }

    #[test]
    fn keys_are_sql_literals_and_nothing_else() {
        assert_eq!(value_of("`o\"d.d'`"), "data->'o\"d.d'''::text");
        assert_eq!(value_of("``.x"), "data->''::text->'x'::text");
        assert_eq!(value_of("a\\b"), "data->E'a\\\\b'::text");
        assert_eq!(value_of("`\\'d`"), "data->E'\\\\''d'::text");
    }

    #[test]
    fn pattern_characters_in_names_are_escaped_and_only_a_document_star_is_one() {
        let pattern = CollectionPattern::parse("a_b/*/c%[*\\?'").expect("pattern");
        let mut sql = String::new();
        push_like(&mut sql, &pattern);
        assert_eq!(sql, "collection LIKE E'a\\\\_b/%/c\\\\%[*\\\\\\\\?'''");
    }

    #[test]
    fn the_definition_of_an_index_is_the_documented_one() {
        let fields = vec![
            OrderBy::new("room", Direction::Ascending).expect("field"),
            OrderBy::new("updatedAt", Direction::Descending).expect("field"),
        ];
        let index = IndexDefinition::new("rooms/*/messages", fields).expect("index");
        let expected = format!(
            "CREATE INDEX CONCURRENTLY \"{}\" ON \"s\".documents (collection, (\"s\".ds_key(data->'room'::text)) COLLATE \"C\", \
             updated_at DESC, id DESC) WHERE collection LIKE 'rooms/%/messages' \
             AND \"s\".ds_key(data->'room'::text) IS NOT NULL",
            index.name()
        );
        assert_eq!(create_index(&index, "s"), expected);
    }
}
