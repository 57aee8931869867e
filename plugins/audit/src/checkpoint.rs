//! The chain's end, signed: who cannot sign cannot write a chain anew.

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::events::Checkpoint;
use crate::json::hex;
use crate::record::Chain;

/// Ed25519, of a seed that only the gateway has.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: String,
}

impl SigningKey {
    /// Of a seed of 32 bytes.
    pub fn of(seed: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let public = digits(pair.public_key().as_ref());
        Some(Self { pair, public })
    }

    /// The public key, in hexadecimal digits.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Puts a checkpoint behind what is in `out`: a record that signs all before it.
    pub(crate) fn sign(&self, chain: &mut Chain, now: u64, out: &mut Vec<u8>) {
        let signed = signed(&chain.id, chain.seq + 1, &chain.hash);
        let signature = digits(self.pair.sign(&signed).as_ref());
        let checkpoint = Checkpoint {
            key: &self.public,
            signature: &signature,
        };
        chain.append(&checkpoint, now, out);
    }
}

/// Whether `key` signed that the record before number `seq` has the hash `prev`.
pub(crate) fn is_signed(chain: &str, seq: u64, prev: &[u8], key: &str, signature: &str) -> bool {
    let (Some(key), Some(signature)) = (bytes(key), bytes(signature)) else {
        return false;
    };
    let key = UnparsedPublicKey::new(&ED25519, key);
    key.verify(&signed(chain, seq, prev), &signature).is_ok()
}

fn signed(chain: &str, seq: u64, prev: &[u8]) -> Vec<u8> {
    let mut text = format!("turnpike audit checkpoint 1\n{chain}\n{seq}\n").into_bytes();
    text.extend_from_slice(prev);
    text
}

pub(crate) fn digits(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| hex(*byte));
    digits.map(char::from).collect()
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}
