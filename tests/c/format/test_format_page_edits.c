/* Edits of SQL pages: what is found between two pages makes the second of the first, whatever they
 * are; what an edit may say, against a model; and images of SQL pages. */
#include "../harness.h"
#include "format/page_edit.h"

enum { PAGE_ID = 9, OWNER = 5, ROUNDS = 2500, BODY_MAX = 2 * AUR_PAGE_BYTES_MAX };

static uint8_t scratch[AUR_PAGE_BYTES_MAX];

static void init_page(uint8_t *page, uint32_t page_bytes) {
    memset(page, 0, page_bytes);
    aur_put64(page + AUR_PAGE_ID_AT, PAGE_ID);
    aur_put64(page + AUR_PAGE_LSN_AT, 3);
    page[AUR_PAGE_TYPE_AT] = AUR_PAGE_SQL;
    aur_put32(page + AUR_PAGE_HEAP_AT, page_bytes);
    aur_put32(page + AUR_PAGE_OWNER_AT, OWNER);
    CHECK_OK(aur_page_check_structure(page, page_bytes));
}

static aur_status apply(uint8_t *page, uint32_t page_bytes, const uint8_t *body,
                        uint32_t body_bytes) {
    const aur_record record = {.op = AUR_OP_EDIT,
                               .lsn = aur_page_lsn(page) + 1,
                               .page_id = aur_page_number(page),
                               .page_prev_lsn = aur_page_lsn(page),
                               .body = body,
                               .body_bytes = body_bytes};
    return aur_page_apply(page, page_bytes, &record, scratch);
}

static uint32_t random_page_bytes(void) {
    return (uint32_t)AUR_PAGE_BYTES_MIN << (random_below(3) != 0 ? 0 : random_below(5));
}

/* ---- pages, and what may happen to them ---- */

typedef struct range {
    uint32_t from;
    uint32_t length;
} range;

static range random_range(uint32_t page_bytes, uint32_t length_max) {
    const uint32_t room = page_bytes - AUR_PAGE_BODY_AT;
    const uint32_t length = 1 + (uint32_t)random_below(length_max < room ? length_max : room);
    return (range){AUR_PAGE_BODY_AT + (uint32_t)random_below(room - length + 1), length};
}

static void fill(uint8_t *page, uint32_t page_bytes) {
    const uint64_t kind = random_below(5);
    for (uint32_t at = AUR_PAGE_BODY_AT; at < page_bytes; at++) {
        switch (kind) {
        case 0: /* nothing repeats */
            page[at] = (uint8_t)random_u64();
            break;
        case 1: /* everything does */
            page[at] = (uint8_t)(random_below(8) == 0);
            break;
        case 2:
            page[at] = (uint8_t)(at % 24);
            break;
        default: /* pointers, a gap, cells */
            page[at] = at - AUR_PAGE_BODY_AT < page_bytes / 8 || at > page_bytes / 3
                           ? (uint8_t)random_u64()
                           : 0;
        }
    }
}

static void write_somewhere(uint8_t *page, uint32_t page_bytes, uint32_t length_max) {
    const range at = random_range(page_bytes, length_max);
    random_bytes(page + at.from, at.length);
}

static void move_something(uint8_t *page, uint32_t page_bytes) {
    const range at = random_range(page_bytes, page_bytes);
    const uint32_t room = page_bytes - AUR_PAGE_BODY_AT - at.length;
    uint32_t to = AUR_PAGE_BODY_AT + (uint32_t)random_below(room + 1);
    if (random_below(2) != 0 && at.from + 40 + at.length < page_bytes) {
        to = at.from + (uint32_t)random_below(40); /* over itself */
    }
    memmove(page + to, page + at.from, at.length);
}

/* A pointer comes, the ones behind it make room, and its cell comes below the others. */
static void insert_like_sqlite(uint8_t *page, uint32_t page_bytes) {
    const uint32_t end = AUR_PAGE_BODY_AT + page_bytes / 8;
    const uint32_t at = AUR_PAGE_BODY_AT + 8 + (uint32_t)random_below(end - AUR_PAGE_BODY_AT - 8);
    memmove(page + at + 2, page + at, end - at);
    aur_put16(page + at, (uint16_t)random_u64());
    random_bytes(page + page_bytes / 3 - 80, 80);
    page[AUR_PAGE_BODY_AT + 4]++;
}

/* Stretches trade places: no order of moves alone can do that. */
static void swap_halves(uint8_t *page, uint32_t page_bytes) {
    const uint32_t half = (page_bytes - AUR_PAGE_BODY_AT) / 2;
    uint8_t *first = page + AUR_PAGE_BODY_AT;
    memcpy(scratch, first, half);
    memmove(first, first + half, half);
    memcpy(first + half, scratch, half);
}

static void change(uint8_t *page, uint32_t page_bytes) {
    const uint64_t kind = random_below(9);
    const uint64_t times = 1 + random_below(30);
    switch (kind) {
    case 0:
        return;
    case 1:
        random_bytes(page + AUR_PAGE_BODY_AT, page_bytes - AUR_PAGE_BODY_AT);
        return;
    case 2:
        swap_halves(page, page_bytes);
        return;
    case 3: /* more runs than are followed */
        for (uint32_t at = AUR_PAGE_BODY_AT; at < page_bytes; at += 20)
            page[at]++;
        return;
    case 4: /* both ends */
        page[AUR_PAGE_BODY_AT]++;
        page[page_bytes - 1]++;
        return;
    default:
        for (uint64_t round = 0; round < times; round++) {
            if (kind == 5)
                write_somewhere(page, page_bytes, 300);
            else if (kind == 6)
                move_something(page, page_bytes);
            else if (kind == 7)
                insert_like_sqlite(page, page_bytes);
            else if (random_below(2) != 0)
                move_something(page, page_bytes);
            else
                write_somewhere(page, page_bytes, 60);
        }
    }
}

/* The diff in room that is exactly as big as it may be. */
static uint32_t diff(const uint8_t *before, const uint8_t *after, uint32_t page_bytes,
                     uint32_t capacity, uint8_t **body_out) {
    *body_out = malloc(capacity + 1);
    CHECK(*body_out != NULL);
    (*body_out)[capacity] = 0x5a;
    const uint32_t bytes = aur_page_diff(before, after, page_bytes, *body_out, capacity);
    CHECK((*body_out)[capacity] == 0x5a);
    CHECK(bytes <= capacity || bytes == UINT32_MAX);
    return bytes;
}

static void check_diff(const uint8_t *before, const uint8_t *after, uint32_t page_bytes) {
    uint8_t *page = malloc(page_bytes);
    uint8_t *body;
    uint8_t *exact;
    CHECK(page != NULL);
    const uint32_t bytes = diff(before, after, page_bytes, BODY_MAX, &body);
    if (bytes == 0) {
        CHECK_EQ_MEM(before, after, page_bytes);
    } else if (bytes != UINT32_MAX) {
        memcpy(page, before, page_bytes);
        CHECK_OK(apply(page, page_bytes, body, bytes));
        CHECK_EQ_MEM(page + AUR_PAGE_BODY_AT, after + AUR_PAGE_BODY_AT,
                     page_bytes - AUR_PAGE_BODY_AT);
        CHECK_EQ_MEM(page + AUR_PAGE_TYPE_AT, after + AUR_PAGE_TYPE_AT,
                     AUR_PAGE_BODY_AT - AUR_PAGE_TYPE_AT);
        CHECK_EQ_U64(diff(before, after, page_bytes, bytes, &exact), bytes);
        CHECK_EQ_MEM(body, exact, bytes);
        free(exact);
        CHECK_EQ_U64(diff(before, after, page_bytes, bytes - 1, &exact), UINT32_MAX);
        free(exact);
    }
    free(body);
    free(page);
}

TEST(edits_make_the_second_page_of_the_first) {
    for (int round = 0; round < ROUNDS; round++) {
        const uint32_t page_bytes = random_page_bytes();
        uint8_t *before = malloc(page_bytes); /* exact, so that a sanitizer sees one byte too far */
        uint8_t *after = malloc(page_bytes);
        CHECK(before != NULL && after != NULL);
        init_page(before, page_bytes);
        fill(before, page_bytes);
        memcpy(after, before, page_bytes);
        change(after, page_bytes);
        check_diff(before, after, page_bytes);
        free(before);
        free(after);
    }
}

/* What SQLite does most is what the search is made for. */
TEST(an_inserted_cell_takes_little_more_than_itself) {
    static uint8_t before[AUR_PAGE_BYTES_MAX];
    static uint8_t after[AUR_PAGE_BYTES_MAX];
    static uint8_t body[AUR_PAGE_BYTES_MAX];
    for (uint32_t page_bytes = AUR_PAGE_BYTES_MIN; page_bytes <= AUR_PAGE_BYTES_MAX;
         page_bytes *= 2) {
        init_page(before, page_bytes);
        random_bytes(before + AUR_PAGE_BODY_AT, page_bytes - AUR_PAGE_BODY_AT);
        memcpy(after, before, page_bytes);
        insert_like_sqlite(after, page_bytes);
        CHECK_LE_U64(aur_page_diff(before, after, page_bytes, body, sizeof body), 80 + 4 * 16);
        /* Cells that made room for a longer one. */
        memcpy(after, before, page_bytes);
        memmove(after + page_bytes / 2, after + page_bytes / 2 + 33, page_bytes / 4);
        CHECK_LE_U64(aur_page_diff(before, after, page_bytes, body, sizeof body), 64);
    }
}

/* ---- what an edit may say ---- */

/* The document's words, byte by byte. False: refused, the page is then anything. */
static bool model_apply(uint8_t *page, uint32_t page_bytes, const uint8_t *body, uint32_t bytes) {
    static uint8_t old[AUR_PAGE_BYTES_MAX];
    uint32_t at = 0;
    while (at < bytes) {
        if (bytes - at < AUR_EDIT_BODY_AT)
            return false;
        const uint32_t kind = body[at];
        const uint32_t to = body[at + 1] | (uint32_t)body[at + 2] << 8;
        const uint32_t length = body[at + 3] | (uint32_t)body[at + 4] << 8;
        const uint32_t rest = kind == 2 ? 2 : length;
        at += AUR_EDIT_BODY_AT;
        if ((kind != 1 && kind != 2) || length == 0 || to < 56 || to + length > page_bytes ||
            rest > bytes - at)
            return false;
        memcpy(old, page, page_bytes);
        const uint32_t from = kind == 2 ? body[at] | (uint32_t)body[at + 1] << 8 : 0;
        if (kind == 2 && (from < 56 || from + length > page_bytes))
            return false;
        for (uint32_t byte = 0; byte < length; byte++)
            page[to + byte] = kind == 2 ? old[from + byte] : body[at + byte];
        at += rest;
    }
    return bytes > 0;
}

static uint32_t random_edit(uint32_t page_bytes, uint8_t *out) {
    const range to = random_range(page_bytes, random_below(4) != 0 ? 40 : page_bytes);
    const uint32_t room = page_bytes - AUR_PAGE_BODY_AT - to.length;
    const bool is_move = random_below(2) != 0;
    out[AUR_EDIT_KIND_AT] = is_move ? AUR_EDIT_MOVE : AUR_EDIT_WRITE;
    aur_put16(out + AUR_EDIT_TO_AT, (uint16_t)to.from);
    aur_put16(out + AUR_EDIT_LENGTH_AT, (uint16_t)to.length);
    if (is_move) {
        aur_put16(out + AUR_EDIT_BODY_AT, (uint16_t)(AUR_PAGE_BODY_AT + random_below(room + 1)));
        return AUR_EDIT_BODY_AT + 2;
    }
    random_bytes(out + AUR_EDIT_BODY_AT, to.length);
    return AUR_EDIT_BODY_AT + to.length;
}

/* Edits of which every number may be wrong, in memory that ends with them. */
TEST(edits_do_what_the_document_says_or_are_refused) {
    static uint8_t expected[AUR_PAGE_BYTES_MAX];
    static uint8_t room[BODY_MAX];
    uint64_t refused = 0;
    for (int round = 0; round < 2 * ROUNDS; round++) {
        const uint32_t page_bytes = random_page_bytes();
        uint8_t *page = malloc(page_bytes);
        uint32_t bytes = 0;
        CHECK(page != NULL);
        init_page(page, page_bytes);
        fill(page, page_bytes);
        memcpy(expected, page, page_bytes);
        for (uint64_t edits = 1 + random_below(6); edits > 0 && bytes < page_bytes / 2; edits--)
            bytes += random_edit(page_bytes, room + bytes);
        if (random_below(2) != 0)
            room[random_below(bytes < 12 ? bytes : 12)] = (uint8_t)random_u64();
        if (random_below(8) == 0)
            bytes -= (uint32_t)random_below(bytes + 1);
        uint8_t *body = malloc(bytes + 1);
        CHECK(body != NULL);
        memcpy(body + 1, room, bytes); /* at any alignment, and its end is the end */
        const bool fits = bytes <= page_bytes && model_apply(expected, page_bytes, body + 1, bytes);
        CHECK_STATUS(apply(page, page_bytes, body + 1, bytes), fits ? AUR_OK : AUR_ERR_CORRUPT);
        if (fits) {
            CHECK_EQ_U64(aur_page_lsn(page), 4);
            CHECK_EQ_MEM(page + AUR_PAGE_TYPE_AT, expected + AUR_PAGE_TYPE_AT,
                         page_bytes - AUR_PAGE_TYPE_AT);
            CHECK_OK(aur_page_check_structure(page, page_bytes));
        }
        refused += !fits;
        free(body);
        free(page);
    }
    CHECK(refused > ROUNDS / 10 && refused < 2 * ROUNDS - ROUNDS / 2);
}

static aur_status apply_one(uint8_t kind, uint32_t to, uint32_t length, uint32_t from) {
    static uint8_t page[AUR_PAGE_BYTES_MIN];
    uint8_t body[AUR_EDIT_BODY_AT + 8] = {kind};
    init_page(page, sizeof page);
    aur_put16(body + AUR_EDIT_TO_AT, (uint16_t)to);
    aur_put16(body + AUR_EDIT_LENGTH_AT, (uint16_t)length);
    aur_put16(body + AUR_EDIT_BODY_AT, (uint16_t)from);
    return apply(page, sizeof page, body,
                 AUR_EDIT_BODY_AT + (kind == AUR_EDIT_WRITE && length < 8 ? length : 2));
}

TEST(edits_stay_inside_the_payload) {
    enum { FIRST = AUR_PAGE_BODY_AT, END = AUR_PAGE_BYTES_MIN, ALL = END - FIRST };
    CHECK_OK(apply_one(AUR_EDIT_WRITE, FIRST, 1, 0));
    CHECK_OK(apply_one(AUR_EDIT_WRITE, END - 1, 1, 0));
    CHECK_STATUS(apply_one(AUR_EDIT_WRITE, FIRST - 1, 1, 0), AUR_ERR_CORRUPT);
    CHECK_STATUS(apply_one(AUR_EDIT_WRITE, END - 1, 2, 0), AUR_ERR_CORRUPT);
    CHECK_STATUS(apply_one(AUR_EDIT_WRITE, FIRST, 0, 0), AUR_ERR_CORRUPT);
    CHECK_STATUS(apply_one(AUR_EDIT_WRITE, FIRST, ALL, 0), AUR_ERR_CORRUPT); /* cut short */
    CHECK_OK(apply_one(AUR_EDIT_MOVE, FIRST, ALL, FIRST));
    CHECK_OK(apply_one(AUR_EDIT_MOVE, FIRST + 1, ALL - 1, FIRST));
    CHECK_OK(apply_one(AUR_EDIT_MOVE, FIRST, 1, END - 1));
    CHECK_STATUS(apply_one(AUR_EDIT_MOVE, FIRST, 1, FIRST - 1), AUR_ERR_CORRUPT);
    CHECK_STATUS(apply_one(AUR_EDIT_MOVE, FIRST, 1, END), AUR_ERR_CORRUPT);
    CHECK_STATUS(apply_one(AUR_EDIT_MOVE, FIRST, ALL, FIRST + 1), AUR_ERR_CORRUPT);
    CHECK_STATUS(apply_one(AUR_EDIT_MOVE, FIRST + 1, ALL, FIRST), AUR_ERR_CORRUPT);
    CHECK_STATUS(apply_one(AUR_EDIT_MOVE, FIRST, 0, FIRST), AUR_ERR_CORRUPT);
    CHECK_STATUS(apply_one(AUR_EDIT_MOVE, UINT16_MAX, UINT16_MAX, UINT16_MAX), AUR_ERR_CORRUPT);
    CHECK_STATUS(apply_one(0, FIRST, 1, 0), AUR_ERR_CORRUPT);
    CHECK_STATUS(apply_one(3, FIRST, 1, 0), AUR_ERR_CORRUPT);
}

TEST(only_sql_pages_are_edited) {
    static uint8_t page[AUR_PAGE_BYTES_MIN];
    const uint8_t body[] = {AUR_EDIT_WRITE, AUR_PAGE_BODY_AT, 0, 1, 0, 7};
    for (uint8_t type = AUR_PAGE_FREE; type <= AUR_PAGE_SQL; type++) {
        init_page(page, sizeof page);
        page[AUR_PAGE_TYPE_AT] = type;
        page[AUR_PAGE_LEVEL_AT] = type == AUR_PAGE_INNER;
        CHECK_OK(aur_page_check_structure(page, sizeof page));
        CHECK_STATUS(apply(page, sizeof page, body, sizeof body),
                     type == AUR_PAGE_SQL ? AUR_OK : AUR_ERR_CORRUPT);
    }
    init_page(page, sizeof page);
    CHECK_STATUS(apply(page, sizeof page, body, 0), AUR_ERR_CORRUPT);
}

/* ---- images ---- */

/* The longest run of zero words of a payload, in bytes. */
static uint32_t longest_zeros(const uint8_t *page, uint32_t page_bytes) {
    uint32_t longest = 0;
    uint32_t length = 0;
    for (uint32_t at = AUR_PAGE_BODY_AT; at < page_bytes; at += 8) {
        length = aur_get64(page + at) == 0 ? length + 8 : 0;
        longest = length > longest ? length : longest;
    }
    return longest;
}

TEST(images_of_sql_pages_leave_the_longest_gap_out) {
    static uint8_t copy[AUR_PAGE_BYTES_MAX];
    for (int round = 0; round < ROUNDS; round++) {
        const uint32_t page_bytes = random_page_bytes();
        uint8_t *page = malloc(page_bytes);
        uint8_t *body = malloc(page_bytes + 4u);
        CHECK(page != NULL && body != NULL);
        init_page(page, page_bytes);
        if (random_below(20) != 0)
            fill(page, page_bytes);
        for (uint64_t gaps = random_below(5); gaps > 0; gaps--) {
            const range gap = random_range(page_bytes, page_bytes / 2);
            memset(page + gap.from, 0, gap.length);
        }
        const uint32_t bytes = aur_page_image_body(page, page_bytes, body);
        CHECK_EQ_U64(bytes, 4 + page_bytes - AUR_PAGE_TYPE_AT - longest_zeros(page, page_bytes));
        const aur_record record = {.op = AUR_OP_IMAGE,
                                   .flags = AUR_RECORD_INIT,
                                   .lsn = aur_page_lsn(page),
                                   .page_id = PAGE_ID,
                                   .body = body,
                                   .body_bytes = bytes};
        memset(copy, 0xee, sizeof copy);
        CHECK_OK(aur_page_apply(copy, page_bytes, &record, scratch));
        CHECK_EQ_MEM(copy, page, page_bytes);
        free(body);
        free(page);
    }
}
