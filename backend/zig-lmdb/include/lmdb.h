/* C ABI of libzig_lmdb, Informania's hot store over LMDB. Not OpenLDAP's lmdb.h.
 *
 * Read by cffi as it stands: no #include, no #if; stdint types, and #defines that are integers.
 *
 * Memory: every pointer belongs to the caller and is used only during the call. Nothing of the
 * map ever leaves a call; values are copied out. Texts are static or belong to the thread.
 * Errors: 0 or a negative ZL_ code whose number never changes its meaning; zl_last_error() says
 * more, for the calling thread, until its next failing call.
 * Threads: every function may be called from any thread. After fork() a store answers ZL_FORKED.
 * Stores are numbers, not pointers: a closed or invented one answers ZL_CLOSED.
 */

#define ZL_ABI_VERSION 1

#define ZL_OK 0
#define ZL_NOT_FOUND -1
#define ZL_CONFLICT -2
#define ZL_KEY_INVALID -3
#define ZL_VALUE_TOO_LARGE -4
#define ZL_CORRUPT -5
#define ZL_BUFFER_TOO_SMALL -6
#define ZL_MAP_FULL -7
#define ZL_FORKED -8
#define ZL_CLOSED -9
#define ZL_ARGUMENT -10
#define ZL_ABORTED -11
#define ZL_BUSY -12
#define ZL_READERS_FULL -13
#define ZL_DISK_FULL -14
#define ZL_IO -15
#define ZL_ACCESS -16
#define ZL_NOT_OURS -17
#define ZL_NO_MEMORY -18
#define ZL_PANIC -19
#define ZL_INTERNAL -20
#define ZL_TXN_FULL -21
#define ZL_VERSIONS_EXHAUSTED -22
#define ZL_LIMIT -23

#define ZL_KEY_SIZE_MAX 511
#define ZL_VALUE_SIZE_MAX 1048576
#define ZL_BATCH_OPS_MAX 4096
#define ZL_BATCH_BYTES_MAX 67108864
#define ZL_TABLES_MAX 32
#define ZL_STORES_MAX 8

/* zl_options.flags. Without ZL_NOSYNC and ZL_NOMETASYNC a write that was answered is on the disk.
 * ZL_SALVAGE opens although rows are damaged; their keys then answer ZL_CORRUPT. */
#define ZL_NOSYNC 1
#define ZL_NOMETASYNC 2
#define ZL_SALVAGE 4

/* zl_op.kind. ZL_EXPIRE removes the row only when its time is over. */
#define ZL_PUT 1
#define ZL_DELETE 2
#define ZL_EXPIRE 3

/* zl_apply flags: all operations or none. */
#define ZL_ATOMIC 1

/* zl_row.state */
#define ZL_ROW_LIVE 0
#define ZL_ROW_EXPIRED 1
#define ZL_ROW_DAMAGED 2

typedef struct {
  uint64_t map_size;     /* first size of the map; it doubles by itself up to map_size_max */
  uint64_t map_size_max;
  uint32_t readers_max;  /* of all processes together */
  uint32_t flags;
} zl_options;

typedef struct {
  uint64_t version;
  int64_t expires_ms;    /* since 1970; 0 = never */
  uint64_t value_size;
} zl_meta;

/* Key and value of each operation follow each other in `data`, in the order of the operations. */
typedef struct {
  uint32_t kind;
  uint32_t table;
  uint32_t key_size;
  uint32_t value_size;
  uint64_t expected;     /* UINT64_MAX = any version, 0 = must be absent */
  int64_t expires_ms;
} zl_op;

typedef struct {
  int32_t status;
  uint32_t reserved;
  uint64_t version;      /* put: the new one; delete: the removed one; conflict: the current one */
} zl_result;

typedef struct {
  uint32_t state;
  uint32_t key_size;
  uint32_t value_size;
  uint32_t reserved;
  uint64_t version;
  int64_t expires_ms;
} zl_row;

/* Where a scan stands: give it back to go on. key_size 0 = at the start. */
typedef struct {
  uint32_t more;
  uint32_t key_size;
  uint8_t key[512];
} zl_position;

typedef struct {
  uint64_t entries;      /* of the table, expired rows included */
  uint64_t depth;
  uint64_t pages;
  uint64_t page_size;
  uint64_t map_size;
  uint64_t map_size_max;
  uint64_t map_used;
  uint64_t grows;
  uint64_t txn_id;
  uint64_t readers;
  uint64_t readers_max;
  uint64_t rows_damaged; /* seen at open, with ZL_SALVAGE */
} zl_stats;

uint32_t zl_abi_version(void);
const char *zl_lmdb_version(void);
const char *zl_strerror(int32_t code);
const char *zl_last_error(void);
/* Sizes of the structs above in their order; the header's reader compares them. */
uint32_t zl_struct_size(uint32_t index);

int32_t zl_open(const char *path, const zl_options *options, uint64_t *store);
int32_t zl_close(uint64_t store);
int32_t zl_table_open(uint64_t store, const char *name, uint32_t *table);
int32_t zl_get(uint64_t store, uint32_t table, const uint8_t *key, uint32_t key_size,
               uint8_t *value, uint64_t capacity, zl_meta *meta);
int32_t zl_apply(uint64_t store, const zl_op *ops, uint32_t count, const uint8_t *data,
                 uint64_t data_size, uint32_t flags, zl_result *results);
int32_t zl_scan(uint64_t store, uint32_t table, const uint8_t *prefix, uint32_t prefix_size,
                zl_row *rows, uint32_t rows_max, uint32_t *rows_count, uint8_t *data,
                uint64_t capacity, zl_position *position);
int32_t zl_stats_read(uint64_t store, uint32_t table, zl_stats *stats);
int32_t zl_reader_check(uint64_t store, uint32_t *dead);
int32_t zl_sync(uint64_t store);
int32_t zl_backup(uint64_t store, const char *path);
