use super::*;

const HEADER: Header = Header { chain: Digest::ZERO, first: Height(1) };

fn written(put: impl FnOnce(&mut Writer<Vec<u8>>)) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &HEADER).unwrap();
    put(&mut writer);
    writer.finish().unwrap().0
}

fn refused(bytes: &[u8]) -> String {
    decode_all(bytes).unwrap_err().to_string()
}

#[test]
fn a_stream_is_read_as_it_was_written() {
    let bytes = written(|writer| writer.blocks(Range::default()).unwrap());
    assert_eq!(decode_all(&bytes).unwrap(), (HEADER, 0));
    let chain = crate::replay::samples::Chain::full();
    let (header, blocks) = decode_all(&chain.exported(1)).unwrap();
    assert_eq!(
        (header.chain, header.first, blocks),
        (chain.genesis.chain(), Height(1), chain.store.tip().height.0)
    );
}

#[test]
fn the_form_is_as_the_docs_say() {
    let bytes = written(|_| ());
    let mut expected = b"realdid chain\r\n\0".to_vec();
    expected.extend(1_u32.to_le_bytes());
    expected.extend([0; 32]);
    expected.extend(1_u64.to_le_bytes());
    expected.extend(12_u32.to_le_bytes());
    expected.extend(2_u32.to_le_bytes());
    expected.extend(0_u64.to_le_bytes());
    assert_eq!(bytes, expected);
}

#[test]
fn what_is_no_stream_or_of_another_format_is_told() {
    assert!(refused(b"").contains("no exported chain"));
    assert!(refused(b"[genesis]\nnetwork = \"x\"\n").contains("no exported chain"));
    let mut other = written(|_| ());
    other[16] = 2;
    assert!(refused(&other).contains("format 2, but this build reads format 1"));
}

#[test]
fn frames_out_of_order_wrong_counts_and_what_follows_the_end_are_refused() {
    let batch = written(|writer| writer.batch(vec![1, 2, 3]).unwrap());
    assert!(refused(&batch).contains("is a batch, where blocks must come"));
    let mut miscounted = written(|_| ());
    let last = miscounted.len() - 8;
    miscounted[last] = 1;
    assert!(refused(&miscounted).contains("has 0 blocks, but says at its end that there are 1"));
    let longer = [written(|_| ()), vec![0]].concat();
    assert!(refused(&longer).contains("something follows after its end"));
}

#[test]
fn a_length_that_is_claimed_is_not_allocated() {
    let mut bytes = encode(&(MAGIC, FORMAT, HEADER));
    let header = bytes.len();
    bytes.extend((MAX_FRAME_BYTES as u32).to_le_bytes());
    bytes.extend([0; 10]);
    let mut reader = Reader::new(&bytes[..]).unwrap();
    assert!(matches!(reader.frame(), Err(StreamError::Cut { at }) if at == header as u64 + 14));
    bytes[header..header + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refused(&bytes).contains("more than any"));
}
