use thiserror::Error;

/// One line of a seam's constant table: the `kind` by which configuration names an
/// implementation, and how to build it from its settings.
///
/// `T` is the seam's trait object, `S` what it is built from. Building is pure: it neither spawns
/// nor connects, so that a reload that fails leaves nothing behind.
///
/// ```
/// use turnpike_api::{Row, find};
/// const GREETERS: &[Row<str, ()>] = &[Row { kind: "plain", build: |()| "hello".into() }];
/// assert_eq!(&*(find(GREETERS, "plain").unwrap().build)(&()), "hello");
/// assert_eq!(
///     find(GREETERS, "plian").err().unwrap().to_string(),
///     "unknown kind 'plian', expected one of: plain",
/// );
/// ```
pub struct Row<T: ?Sized, S> {
    /// Lower case, words joined by `-` or `_`.
    pub kind: &'static str,
    /// Builds the implementation.
    pub build: fn(&S) -> std::sync::Arc<T>,
}

/// A `kind` that no row of the table has.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("unknown kind '{kind}', expected one of: {known}")]
pub struct UnknownKind {
    /// As it was written.
    pub kind: String,
    /// What there is, joined by `, `.
    pub known: String,
}

/// The row of `table` for `kind`; `-` and `_` are the same.
pub fn find<'t, T: ?Sized, S>(
    table: &'t [Row<T, S>],
    kind: &str,
) -> Result<&'t Row<T, S>, UnknownKind> {
    let same = |a: &str, b: &str| {
        a.len() == b.len()
            && a.bytes()
                .zip(b.bytes())
                .all(|(x, y)| x == y || (b"-_".contains(&x) && b"-_".contains(&y)))
    };
    table
        .iter()
        .find(|row| same(row.kind, kind))
        .ok_or_else(|| UnknownKind {
            kind: kind.to_owned(),
            known: table
                .iter()
                .map(|row| row.kind)
                .collect::<Vec<_>>()
                .join(", "),
        })
}
