//! RocksDB's options: for an SSD, for two cores, and with memory that is bounded.
//!
//! Memory: at most 384 MiB of blocks (at ten million DIDs the filters and indexes alone take a quarter of it), 128 MiB of memtables and what the open files' readers need. Compression is
//! off, as keys, digests and signatures do not compress.

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBRecoveryMode, LogLevel, MergeOperands, Options,
    ReadOptions,
};

use super::rows::Family;
use crate::tree::bucket::merge_rows;

const MIB: usize = 1 << 20;

/// Options of the whole database.
pub(super) fn database() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // After a crash the log may end in the middle of a write that was not synced: that is cut. Damage anywhere
    // else could drop writes that were: then opening fails. (RocksDB's default, point-in-time, drops
    // everything after the first damage, and says nothing.)
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(256 * MIB as u64);
    options.set_db_write_buffer_size(128 * MIB);
    options.set_max_open_files(1_024);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(MIB as u64);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(4 * MIB);
    options.set_keep_log_file_num(4);
    options.set_max_manifest_file_size(16 * MIB);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

/// Column families that share one block cache.
pub(super) fn column_families() -> Vec<ColumnFamilyDescriptor> {
    // Lookups take no lock, and guess themselves how large an entry is.
    let cache = Cache::new_hyper_clock_cache(384 * MIB, 0);
    Family::ALL.map(|family| ColumnFamilyDescriptor::new(family.name(), column_family(family, &cache))).into()
}

/// For reading all rows of a family once: ahead of time, and without pushing out what is read often.
pub(super) fn scan() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_readahead_size(2 * MIB);
    options.fill_cache(false);
    options
}

/// Brings the leaves that blocks changed into their bucket.
fn merge_leaves(_: &[u8], row: Option<&[u8]>, changes: &MergeOperands) -> Option<Vec<u8>> {
    changes.iter().try_fold(row.unwrap_or_default().to_vec(), |row, changes| merge_rows(&row, changes))
}

fn column_family(family: Family, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    if family.is_looked_up() {
        table.set_bloom_filter(10.0, false);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(32 * MIB);
    options.set_level_compaction_dynamic_level_bytes(true);
    if family.is_looked_up() {
        // Most lookups are for what is not there: a filter spares them the search.
        options.set_memtable_prefix_bloom_ratio(0.05);
        options.set_memtable_whole_key_filtering(true);
    }
    if family == Family::Tree {
        // A bucket that is looked for is there: the filter of the lowest level would only say so.
        options.set_optimize_filters_for_hits(true);
        options.set_merge_operator_associative("realdid.bucket", merge_leaves);
    }
    if family == Family::Batches {
        // Batches are large and written once: compaction moves their keys, not their bytes.
        options.set_enable_blob_files(true);
        options.set_min_blob_size(4 << 10);
        options.set_blob_file_size(64 * MIB as u64);
        options.set_enable_blob_gc(true);
    }
    options
}
