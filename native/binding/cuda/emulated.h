// Where the card is emulated, it is told of the blocks that the allocator hands out, and checks every access against
// them, and tests may steer it; a real one knows of neither. Each has a cuBLAS of its own.
#pragma once
#include <cuda_runtime_api.h>
#include <napi.h>

#include <cstdint>

namespace fw {

#ifdef FW_EMULATION
inline void note_block(void* data, int64_t bytes, cudaStream_t stream) {
  emulation_block(data, static_cast<size_t>(bytes), stream);
}
inline void note_block_freed(void* data, cudaStream_t stream) { emulation_block_free(data, stream); }
void add_emulation_functions(Napi::Object exports);
constexpr const char* kCublas = "libemulated_cublas.so";
#else
inline void note_block(void*, int64_t, cudaStream_t) {}
inline void note_block_freed(void*, cudaStream_t) {}
inline void add_emulation_functions(Napi::Object) {}
constexpr const char* kCublas = "libcublas.so";
#endif

}  // namespace fw
