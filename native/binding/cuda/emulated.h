// Where the card is emulated, it is told of the blocks that the allocator hands out, and checks every access against
// them; a real one is not.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

namespace fw {

#ifdef FW_EMULATION
inline void note_block(void* data, int64_t bytes) { emulation_block(data, static_cast<size_t>(bytes)); }
inline void note_block_freed(void* data) { emulation_block_free(data); }
#else
inline void note_block(void*, int64_t) {}
inline void note_block_freed(void*) {}
#endif

}  // namespace fw
