//! A credential file as it lies on the disk: JSON, or JSON in an envelope that belongs to the file's
//! name. (The credential's id is its provider and that name; the provider may stand inside.)

use thiserror::Error;
use turnpike_api::{Keyring, OpenError, SealError};
use zeroize::Zeroizing;

use crate::file::{self, CredentialFile, FileError};

/// Why there is no credential in a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Sealed(#[from] OpenError),
}

/// The file `name` as it is to be written.
pub fn seal_file(name: &str, json: &[u8], keyring: &Keyring) -> Result<Vec<u8>, SealError> {
    let mut sealed = keyring.seal(json, name)?;
    sealed.push('\n');
    Ok(sealed.into_bytes())
}

/// The JSON of the file `name`, and the envelope it was in, if it was in one.
pub fn open_file<'a>(
    name: &str,
    bytes: &'a [u8],
    keyring: &Keyring,
) -> Result<(Zeroizing<Vec<u8>>, Option<&'a str>), OpenError> {
    let text = std::str::from_utf8(bytes).ok().map(str::trim_ascii);
    match text.filter(|text| Keyring::is_sealed(text)) {
        Some(sealed) => Ok((keyring.open(sealed, name)?, Some(sealed))),
        None => Ok((Zeroizing::new(bytes.to_vec()), None)),
    }
}

/// The credential in the file `name`.
pub(super) fn read(
    name: &str,
    bytes: &[u8],
    keyring: &Keyring,
) -> Result<CredentialFile, ReadError> {
    let (json, _) = open_file(name, bytes, keyring)?;
    Ok(file::parse(stem(name), &json)?)
}

fn stem(name: &str) -> &str {
    &name[..name.len() - ".json".len()]
}
