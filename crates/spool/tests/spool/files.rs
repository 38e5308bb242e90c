//! A spool's files as others may find them: owned, private, sealed, damaged.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::*;
use base::{AccountId, MessageId, Timestamp};
use privacy::Key;
use spool::format::{Kind, RECORD_HEADER_OCTETS, SEGMENT_HEADER_OCTETS, SLOT_OCTETS, parse_record};
use spool::{DamageKind, OpenError, Spool, SpoolError};

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Where a message's Accepted record is: file, offset, and the file's bytes.
fn find_record(dir: &Path, id: MessageId) -> (PathBuf, usize, Vec<u8>) {
    for path in files_below(&dir.join("segments")) {
        let bytes = fs::read(&path).unwrap();
        for at in (SEGMENT_HEADER_OCTETS..bytes.len()).step_by(8) {
            if let Ok(record) = parse_record(&bytes[at..])
                && record.header.kind == Kind::Accepted
                && record.header.message == id
            {
                return (path, at, bytes);
            }
        }
    }
    panic!("the record of {id} is in no segment");
}

fn flip(path: &Path, at: usize) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut octet = [0];
    file.read_exact_at(&mut octet, at as u64).unwrap();
    file.write_all_at(&[octet[0] ^ 4], at as u64).unwrap();
}

/// Three messages, shut down: ids in order.
async fn three(dir: &Path) -> Vec<MessageId> {
    let (spool, _) = open(small(dir));
    let mut ids = Vec::new();
    for octets in [1000, 2000, 3000] {
        ids.push(accept(&spool, &body_of(octets)).await.meta.id);
    }
    spool.shutdown();
    ids
}

#[tokio::test]
async fn only_one_process_owns_a_spool() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = open(small(dir.path()));
    let second = Spool::open(small(dir.path()), &keys(), Arc::new(StepClock::default()));
    assert!(matches!(second, Err(OpenError::InUse(_))));
    first.shutdown();
    assert!(matches!(first.draft(ACCOUNT).commit(meta()).await, Err(SpoolError::ReadOnly(_))));
    open(small(dir.path()));
}

#[tokio::test]
async fn another_key_is_refused_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ids = three(dir.path()).await;
    let wrong = privacy::MasterKey::from_bytes([1; 32]);
    let opened = Spool::open(small(dir.path()), &wrong, Arc::new(StepClock::default()));
    assert!(matches!(opened, Err(OpenError::WrongKey { .. })));
    assert_eq!(open(small(dir.path())).1.messages.len(), ids.len());
}

#[tokio::test]
async fn nobody_else_may_read_the_files() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("spool");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let (spool, _) = open(small(&dir));
    accept(&spool, &body_of(100)).await;
    accept(&spool, &body_of(100_000)).await;
    for folder in [dir.clone(), dir.join("segments"), dir.join("large"), dir.join("quarantine")] {
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{folder:?}");
    }
    let files = files_below(&dir);
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn no_plaintext_is_in_any_file() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(small(dir.path()));
    let mut half = draft(&spool, &body_of(90_000));
    half.write(CANARY.as_bytes()).unwrap();
    for octets in [10, 5000, 200_000] {
        let id = accept(&spool, &body_of(octets)).await.meta.id;
        spool.record_synced(id, &attempted(1, &[delivered(0), deferred(1, 5)])).await.unwrap();
    }
    let files = files_below(dir.path());
    assert!(files.iter().any(|file| file.extension().is_some_and(|e| e == "body")));
    for file in files {
        let bytes = fs::read(&file).unwrap();
        for word in [CANARY, "example.org"] {
            assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word} in {file:?}");
        }
    }
    drop(half);
}

/// Opens a body as somebody would who has all files, the master key and this page of format, but
/// not our code.
fn open_with_everything(dir: &Path, id: MessageId) -> Option<Vec<u8>> {
    let (_, at, bytes) = find_record(dir, id);
    let record = parse_record(&bytes[at..]).unwrap();
    let mut keys_of_segment = bytes[52..132].to_vec();
    let instance = keys().derive("postrider spool segment v1");
    let keys_of_segment =
        instance.open(bytes[40..52].try_into().unwrap(), &bytes[..40], &mut keys_of_segment)?.to_vec();
    let slot_key = Key::from_bytes(keys_of_segment[32..].try_into().unwrap());
    let slot_at = bytes.len() - SEGMENT_HEADER_OCTETS - SLOT_OCTETS * (record.header.slot as usize + 1);
    let slot = &bytes[slot_at..slot_at + SLOT_OCTETS];
    let slot_aad = [&b"slot"[..], id.as_bytes()].concat();
    let mut body_key = slot[16..].to_vec();
    let body_key = slot_key.open(slot[4..16].try_into().unwrap(), &slot_aad, &mut body_key)?;
    let body_key = Key::from_bytes((&*body_key).try_into().unwrap());
    let chunks: Vec<Vec<u8>> = if record.header.large {
        let file = fs::read(dir.join(format!("large/{id}.body"))).ok()?;
        file.chunks(65_536 + 16).map(<[u8]>::to_vec).collect()
    } else {
        vec![record.body.to_vec()]
    };
    let last = chunks.len() - 1;
    let mut body = Vec::new();
    for (number, mut chunk) in chunks.into_iter().enumerate() {
        let is_last = u8::from(number == last);
        let number = (number as u64).to_le_bytes();
        let nonce = [&number[..], &[is_last, 0, 0, 0]].concat();
        let aad = [&ACCOUNT.0.to_le_bytes()[..], id.as_bytes(), &number, &[is_last]].concat();
        body.extend_from_slice(body_key.open(nonce.try_into().unwrap(), &aad, &mut chunk)?);
    }
    Some(body)
}

#[tokio::test]
async fn after_close_nobody_can_open_the_body_whatever_he_holds() {
    let dir = tempfile::tempdir().unwrap();
    for octets in [3000, 150_000] {
        let body = body_of(octets);
        let (spool, _) = open(small(dir.path()));
        let id = accept(&spool, &body).await.meta.id;
        let kept = accept(&spool, &body).await.meta.id;
        assert_eq!(open_with_everything(dir.path(), id).as_ref(), Some(&body), "the test itself can open");
        let large_copy = fs::read(dir.path().join(format!("large/{id}.body")));
        spool.close(id, Timestamp(1)).unwrap();
        spool.shutdown();
        assert_eq!(spool.stats().keys_destroyed, 1);
        if let Ok(copy) = large_copy {
            assert!(!dir.path().join(format!("large/{id}.body")).exists());
            // Even with the file brought back from a backup.
            fs::write(dir.path().join(format!("large/{id}.body")), copy).unwrap();
        }
        assert_eq!(open_with_everything(dir.path(), id), None);
        assert_eq!(open_with_everything(dir.path(), kept), Some(body), "its neighbour still opens");
    }
}

#[tokio::test]
async fn the_key_is_destroyed_within_seconds_without_a_shutdown() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(small(dir.path()));
    let id = accept(&spool, &body_of(3000)).await.meta.id;
    let began = std::time::Instant::now();
    spool.close(id, Timestamp(1)).unwrap();
    while spool.stats().keys_destroyed == 0 {
        std::thread::yield_now();
        assert!(began.elapsed().as_secs() < 10, "the promise is 10 seconds");
    }
    assert_eq!((open_with_everything(dir.path(), id), spool.stats().destroy_backlog), (None, 0));
}

#[tokio::test]
async fn a_flipped_bit_in_a_body_is_found_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let ids = three(dir.path()).await;
    let (path, at, bytes) = find_record(dir.path(), ids[1]);
    let meta_octets = parse_record(&bytes[at..]).unwrap().meta.len();
    flip(&path, at + RECORD_HEADER_OCTETS + meta_octets + 100);
    let (spool, recovered) = open(small(dir.path()));
    assert_eq!(recovered.messages.len(), 3);
    assert!(matches!(spool.body(ids[1]), Err(SpoolError::Damaged { message, .. }) if message == ids[1]));
    assert_eq!(read_body(&spool, ids[2]).unwrap(), body_of(3000));
}

#[tokio::test]
async fn a_flipped_bit_in_a_key_slot_is_found_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let ids = three(dir.path()).await;
    let (path, at, bytes) = find_record(dir.path(), ids[1]);
    let slot = parse_record(&bytes[at..]).unwrap().header.slot as usize;
    flip(&path, bytes.len() - SEGMENT_HEADER_OCTETS - SLOT_OCTETS * slot - 20);
    let (spool, recovered) = open(small(dir.path()));
    assert_eq!(recovered.messages.len(), 3);
    assert!(matches!(spool.body(ids[1]), Err(SpoolError::Damaged { .. })));
    assert_eq!(read_body(&spool, ids[0]).unwrap(), body_of(1000));
}

#[tokio::test]
async fn a_flipped_bit_in_a_header_or_envelope_is_reported_and_kept_aside() {
    for place in [0, 9, 20, 34, 50, 70, 81, RECORD_HEADER_OCTETS + 10] {
        // The first record, one in the middle, and the last, behind which only the mark stands.
        for victim in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let ids = three(dir.path()).await;
            let (path, at, bytes) = find_record(dir.path(), ids[victim]);
            flip(&path, at + place);
            let (spool, recovered) = open(small(dir.path()));
            let what = format!("octet {place} of record {victim}: {recovered:?}");
            assert_eq!((recovered.messages.len(), recovered.damage.len()), (2, 1), "{what}");
            let damage = &recovered.damage[0];
            assert_eq!((damage.what, damage.offset), (DamageKind::Record, at as u64), "{what}");
            if place != 20 {
                assert_eq!(damage.message, Some(ids[victim]), "{what}");
            }
            let kept = fs::read(dir.path().join(damage.kept_in.as_ref().unwrap())).unwrap();
            let mut damaged = bytes[at..at + kept.len()].to_vec();
            damaged[place] ^= 4;
            assert_eq!(kept, damaged, "{what}");
            assert!(matches!(spool.body(ids[victim]), Err(SpoolError::Gone)), "never sent");
            accept(&spool, b"it goes on").await;
        }
    }
}

#[tokio::test]
async fn one_copy_of_a_segments_header_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let ids = three(dir.path()).await;
    let (path, _, bytes) = find_record(dir.path(), ids[0]);
    flip(&path, 60);
    let (spool, recovered) = open(small(dir.path()));
    assert_eq!((recovered.messages.len(), recovered.damage.len()), (3, 0));
    assert_eq!(read_body(&spool, ids[2]).unwrap(), body_of(3000));
    drop(spool);
    flip(&path, bytes.len() - SEGMENT_HEADER_OCTETS + 60);
    let (spool, recovered) = open(small(dir.path()));
    assert_eq!(recovered.messages.len(), 0);
    assert_eq!(recovered.damage[0].what, DamageKind::Segment);
    assert!(dir.path().join(recovered.damage[0].kept_in.as_ref().unwrap()).exists());
    accept(&spool, b"it goes on").await;
}

#[tokio::test]
async fn a_segment_that_was_cut_off_gives_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let ids = three(dir.path()).await;
    let (path, at, _) = find_record(dir.path(), ids[1]);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(at as u64 + 50).unwrap();
    drop(file);
    let (spool, recovered) = open(small(dir.path()));
    // The key slots stood at the end: without them no body opens, and nothing is sent.
    assert!(recovered.messages.is_empty());
    let what: Vec<_> = recovered.damage.iter().map(|damage| (damage.what, damage.message)).collect();
    assert_eq!(what, [(DamageKind::CutOff, None), (DamageKind::KeyMissing, Some(ids[0]))]);
    for id in ids {
        assert!(spool.body(id).is_err());
    }
    accept(&spool, b"it goes on").await;
}

#[tokio::test]
async fn a_large_bodys_missing_or_damaged_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(small(dir.path()));
    let ids = [accept(&spool, &body_of(200_000)).await.meta.id, accept(&spool, &body_of(200_000)).await.meta.id];
    spool.shutdown();
    drop(spool);
    fs::remove_file(dir.path().join(format!("large/{}.body", ids[0]))).unwrap();
    flip(&dir.path().join(format!("large/{}.body", ids[1])), 150_000);
    fs::write(dir.path().join(format!("large/{}.body", MessageId::from_bytes([9; 16]))), "left over").unwrap();
    let (spool, recovered) = open(small(dir.path()));
    assert_eq!(recovered.messages.len(), 2);
    assert_eq!((recovered.damage[0].what, recovered.damage[0].message), (DamageKind::BodyMissing, Some(ids[0])));
    assert!(matches!(spool.body(ids[0]), Err(SpoolError::Damaged { .. })));
    let mut body = spool.body(ids[1]).unwrap();
    assert_eq!(body.octets(), 200_000);
    assert!(body.next_chunk().is_ok() && body.next_chunk().is_ok());
    assert!(matches!(body.next_chunk(), Err(SpoolError::Damaged { .. })));
    assert_eq!(files_below(&dir.path().join("large")).len(), 1, "what nobody wants is removed");
}

#[tokio::test]
async fn a_body_is_bound_to_its_account() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(small(dir.path()));
    let id = spool.draft(AccountId(8)).commit(meta()).await.unwrap().meta.id;
    // The same key and bytes under another account's name do not open.
    assert_eq!(open_with_everything(dir.path(), id), None);
    assert_eq!(read_body(&spool, id).unwrap(), b"");
}
