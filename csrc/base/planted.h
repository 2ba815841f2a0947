/*
 * Bugs that the simulator must be able to catch. A build with AURORA_PLANTED_BUGS carries them
 * behind a mask in the options of the engine and of each segment; in every other build the test is
 * a constant false and costs nothing.
 */
#ifndef AUR_BASE_PLANTED_H
#define AUR_BASE_PLANTED_H

#include <stdint.h>

enum aur_planted_bug {
    AUR_BUG_ACK_AT_3 = 1u << 0,       /* quorum: one acknowledgement too few completes a write */
    AUR_BUG_NO_EPOCH_CHECK = 1u << 1, /* segment: frames of an older epoch are accepted */
    AUR_BUG_VDL_PAST_HOLE = 1u << 2,  /* quorum: VDL passes a boxcar that is not yet complete */
    AUR_BUG_NO_CHECKSUM = 1u << 3,    /* segment: checksums of blocks of layers are not compared */
    AUR_BUG_TORN_FRAME = 1u << 4,     /* segment: a frame with a torn payload is accepted at open */
};

#ifdef AURORA_PLANTED_BUGS
#define AUR_PLANTED(mask, bug) (((mask) & (uint32_t)(bug)) != 0)
#else
#define AUR_PLANTED(mask, bug) ((void)(mask), 0)
#endif

#endif
