// Best fit over free pieces; small blocks in segments of their own, so that they do not break up large ones.
#include "memory.h"

#include <algorithm>

#include "../../cuda/context.h"
#include "emulated.h"

namespace fw {
namespace {

constexpr int64_t kAlign = 512;
constexpr int64_t kSmall = 1 << 20;
constexpr int64_t kSegment = 2 << 20;
constexpr int64_t kMaxBytes = int64_t(1) << 46;

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

}  // namespace

CudaMemory::Piece* CudaMemory::take(int64_t bytes, bool small) {
  Pieces& pieces = free_[small ? 0 : 1];
  Piece least{nullptr, bytes, small, true, nullptr, nullptr};
  const auto found = pieces.lower_bound(&least);
  if (found == pieces.end()) return nullptr;
  Piece* const piece = *found;
  pieces.erase(found);
  if (piece->bytes > bytes) {
    Piece* const rest = new Piece{piece->data + bytes, piece->bytes - bytes, small, true, piece, piece->after};
    if (rest->after) rest->after->before = rest;
    piece->after = rest;
    piece->bytes = bytes;
    pieces.insert(rest);
  }
  piece->free = false;
  return piece;
}

CudaMemory::Piece* CudaMemory::allocate_whole(int64_t bytes) {
  void* data = nullptr;
  const cudaError_t code = cudaMalloc(&data, static_cast<size_t>(bytes));
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // no memory is not an error that stays
    return nullptr;
  }
  cuda::check("memory", code);  // what earlier kernels have done may be told here
  return new Piece{static_cast<char*>(data), bytes, false, false, nullptr, nullptr};
}

bool CudaMemory::add_segment(int64_t bytes, bool small) {
  Piece* const piece = allocate_whole(bytes);
  if (!piece) return false;
  piece->small = small, piece->free = true;
  free_[small ? 0 : 1].insert(piece);
  cached_ += bytes;
  return true;
}

Block CudaMemory::allocate(int64_t asked) {
  if (asked > kMaxBytes) return {nullptr, 0};
  if (!cache_) {
    Piece* const whole = allocate_whole(std::max<int64_t>(asked, 1));
    return whole ? hand_out(whole, asked) : Block{nullptr, 0};
  }
  const int64_t bytes = round_up(std::max<int64_t>(asked, 1), kAlign);
  const bool small = bytes < kSmall;
  Piece* piece = take(bytes, small);
  if (!piece) {
    const int64_t segment = round_up(bytes, kSegment);
    if (!add_segment(segment, small)) {
      trim();
      if (!add_segment(segment, small)) return {nullptr, 0};
    }
    piece = take(bytes, small);
  }
  cached_ -= bytes;
  return hand_out(piece, asked);
}

Block CudaMemory::hand_out(Piece* piece, int64_t asked) {
  used_[piece->data] = piece;
  live_ += piece->bytes;
  peak_ = std::max(peak_, live_);
  note_block(piece->data, asked, stream_);
  return {piece->data, piece->bytes};
}

// `after` disappears in `piece`.
void CudaMemory::join(Piece* piece, Piece* after) {
  piece->bytes += after->bytes;
  piece->after = after->after;
  if (after->after) after->after->before = piece;
  delete after;
}

void CudaMemory::free(Block block) {
  note_block_freed(block.data, stream_);
  const auto found = used_.find(block.data);
  Piece* piece = found->second;
  used_.erase(found);
  live_ -= piece->bytes;
  if (!cache_) {
    cudaFree(piece->data);  // once the card is through with it; what fails has been told by what used it
    cudaGetLastError();
    delete piece;
    return;
  }
  cached_ += piece->bytes;
  piece->free = true;
  Pieces& pieces = free_[piece->small ? 0 : 1];
  if (Piece* const after = piece->after; after && after->free) {
    pieces.erase(after);
    join(piece, after);
  }
  if (Piece* const before = piece->before; before && before->free) {
    pieces.erase(before);
    join(before, piece);
    piece = before;
  }
  pieces.insert(piece);
}

void CudaMemory::trim() {
  cuda::check("kernel", cudaStreamSynchronize(stream_));
  for (Pieces& pieces : free_) {
    for (auto it = pieces.begin(); it != pieces.end();) {
      Piece* const piece = *it;
      if (piece->before || piece->after) {
        ++it;
        continue;
      }
      it = pieces.erase(it);
      const cudaError_t code = cudaFree(piece->data);
      cached_ -= piece->bytes;
      delete piece;
      cuda::check("memory", code);
    }
  }
}

}  // namespace fw
