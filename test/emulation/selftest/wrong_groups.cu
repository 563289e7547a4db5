// Mistakes with mbarriers, bulk copies and the products of warpgroups.
#include "../../../native/cuda/warpgroup.cuh"
#include "wrong_kernel.h"

namespace {
struct Bulk {
  alignas(16) float v[256];
  uint64_t full, other;
};
constexpr int kBulkBytes = 256 * sizeof(float);

// Begins a kernel of two warps that know of an mbarrier at which one thread arrives.
struct BulkKernel : Kernel<64, Bulk> {
  static FW_DEVICE void begin(Shared& shared) {
    if (thread() == 0) mbarrierInit(&shared.full, 1), fenceProxyAsync();
    barrier();
  }
  static FW_DEVICE void copy(const Args& args, Shared& shared) {
    mbarrierExpect(&shared.full, kBulkBytes);
    copyBulk(shared.v, args.x, kBulkBytes, &shared.full);  // by one thread
  }
};

struct NotInitialised : BulkKernel {
  static FW_DEVICE void run(const Args&, Shared& shared) {
    begin(shared);
    mbarrierWait(&shared.other, 0);  // another than that
  }
};

struct NotKnown : BulkKernel {
  static FW_DEVICE void run(const Args&, Shared& shared) {
    if (thread() == 0) mbarrierInit(&shared.full, 1);  // made by one
    if (thread() == 0) mbarrierArrive(&shared.full);
    if (thread() == 1) mbarrierWait(&shared.full, 0);  // used by another
  }
};

struct NotFenced : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    if (thread() == 0) mbarrierInit(&shared.full, 1);  // not for copies
    barrier();
    if (thread() == 0) copy(args, shared);
    mbarrierWait(&shared.full, 0);
  }
};

struct WriteNotFenced : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(shared);
    shared.v[thread()] = 0;  // a write that copies do not know
    barrier();
    if (thread() == 0) copy(args, shared);
    mbarrierWait(&shared.full, 0);
  }
};

struct ReadBeforeWait : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(shared);
    if (thread() == 0) copy(args, shared);
    barrier();
    args.y[thread()] = shared.v[thread()];  // read too early, for all a barrier
    barrier();
    mbarrierWait(&shared.full, 0);
  }
};

struct OnlyOneWaits : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(shared);
    if (thread() == 0) copy(args, shared), mbarrierWait(&shared.full, 0);
    if (thread() == 1) args.y[0] = shared.v[0];  // read without a wait
  }
};

struct TooManyArrive : BulkKernel {
  static FW_DEVICE void run(const Args&, Shared& shared) {
    begin(shared);
    if (thread() == 0) mbarrierExpect(&shared.full, 16);
    if (thread() == 0) mbarrierArrive(&shared.full);  // one too many
  }
};

struct TooLate : BulkKernel {
  static FW_DEVICE void run(const Args&, Shared& shared) {
    begin(shared);
    if (thread() == 0) mbarrierArrive(&shared.full), mbarrierArrive(&shared.full);
    barrier();
    mbarrierWait(&shared.full, 0);  // the first of two
  }
};

struct NobodyArrives : BulkKernel {
  static FW_DEVICE void run(const Args&, Shared& shared) {
    begin(shared);
    mbarrierWait(&shared.full, 0);  // for nobody
  }
};

struct BulkForgotten : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(shared);
    if (thread() == 0) copy(args, shared);
  }
};

struct BulkBeyond : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(shared);
    if (thread() == 0) copyBulk(shared.v, args.x + 4, kBulkBytes, &shared.full);  // 16 bytes beyond
  }
};

struct BulkMisaligned : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(shared);
    if (thread() == 0) copyBulk(shared.v, args.x + 1, 16, &shared.full);  // 4 bytes off
  }
};

// What one lane tells is not what its warp has done.
struct ArrivesForOthers : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(shared);
    if (warp() == 0) {
      shared.v[lane()] = args.x[lane()];  // written by all lanes
      if (lane() == 0) mbarrierArrive(&shared.full);
    } else {
      mbarrierWait(&shared.full, 0);
      args.y[lane()] = shared.v[lane()];  // read when one has arrived
    }
  }
};

struct Factors {
  alignas(1024) uint16_t a[64 * 64];
};

// Begins a kernel of a warpgroup that multiplies a factor by itself.
struct WarpgroupKernel : Kernel<128, Factors> {
  using Sums = float[8][4];
  static FW_DEVICE void begin(const Args& args, Shared& shared) {
    for (int i = thread(); i < 64 * 64; i += kThreads) shared.a[i] = toBfloat16(args.x[i % 256]);  // writes a factor
    fenceProxyAsync();
    barrier();
  }
  static FW_DEVICE void multiply(Sums& c, Shared& shared) {
    const uint64_t a = matrixDescriptor(shared.a, 0, 1024);
    warpgroupMultiply<false, false>(c, a, a);  // the product
  }
};

struct SumsUsed : WarpgroupKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(args, shared);
    Sums c = {};
    warpgroupFence();
    multiply(c, shared);
    warpgroupCommit();
    c[0][0] += 1;
    c[0][0] = 0;
    warpgroupWait<0>();
    args.y[thread()] = c[0][0];
  }
};

struct ProductNotFenced : WarpgroupKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(args, shared);
    Sums c = {};
    multiply(c, shared);
    warpgroupCommit();
    warpgroupWait<0>();
    args.y[thread()] = c[0][0];
  }
};

struct ProductForgotten : WarpgroupKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(args, shared);
    Sums c = {};
    warpgroupFence();
    multiply(c, shared);
    warpgroupCommit();
    args.y[thread()] = c[0][0];
  }
};

struct FactorChanges : WarpgroupKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(args, shared);
    Sums c = {};
    warpgroupFence();
    multiply(c, shared);
    warpgroupCommit();
    barrier();
    if (thread() == 0) shared.a[0] = 1;
    warpgroupWait<0>();
    args.y[thread()] = c[0][0];
  }
};

struct FactorRewritten : WarpgroupKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(args, shared);
    Sums c = {};
    warpgroupFence();
    multiply(c, shared);
    warpgroupCommit();
    barrier();
    if (thread() == 0) shared.a[0] = toBfloat16(args.x[0]);  // writes the same again
    warpgroupWait<0>();
    args.y[thread()] = c[0][0];
  }
};

struct FactorNotFenced : WarpgroupKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(args, shared);
    if (thread() == 0) shared.a[0] = 0;  // writes and does not fence
    barrier();
    Sums c = {};
    warpgroupFence();
    multiply(c, shared);
    warpgroupCommit();
    warpgroupWait<0>();
    args.y[thread()] = c[0][0];
  }
};

struct WarpMissing : WarpgroupKernel {
  static FW_DEVICE void run(const Args&, Shared&) {
    if (warp() != 3) warpgroupFence();  // three warps
  }
};

struct OtherFactors : WarpgroupKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(args, shared);
    Sums c = {};
    warpgroupFence();
    const uint64_t a = matrixDescriptor(shared.a, 0, warp() == 0 ? 1024 : 512);
    warpgroupMultiply<false, false>(c, a, a);  // not the same for all
    warpgroupCommit();
    warpgroupWait<0>();
    args.y[thread()] = c[0][0];
  }
};
}  // namespace

namespace wrong {

const std::vector<Kernel> kKernelsOfGroups = {
    FW_WRONG(NotInitialised, 1, "mbarrier", "another than that"),
    FW_WRONG(NotKnown, 1, "race", "made by one", "used by another"),
    FW_WRONG(NotFenced, 1, "fence", "not for copies", "by one thread"),
    FW_WRONG(WriteNotFenced, 1, "fence", "a write that copies do not know", "by one thread"),
    FW_WRONG(ReadBeforeWait, 1, "copy", "by one thread", "read too early, for all a barrier"),
    FW_WRONG(OnlyOneWaits, 1, "race", "by one thread", "read without a wait"),
    FW_WRONG(TooManyArrive, 1, "mbarrier", "one too many"),
    FW_WRONG(TooLate, 1, "mbarrier", "the first of two"),
    FW_WRONG(NobodyArrives, 1, "deadlock", "for nobody"),
    FW_WRONG(BulkForgotten, 1, "copy", "by one thread"),
    FW_WRONG(BulkBeyond, 1, "bounds", "16 bytes beyond"),
    FW_WRONG(BulkMisaligned, 1, "bounds", "4 bytes off"),
    FW_WRONG(SumsUsed, 1, "warpgroup", "the product"),
    FW_WRONG(ProductNotFenced, 1, "warpgroup", "the product"),
    FW_WRONG(ProductForgotten, 1, "warpgroup", "the product"),
    FW_WRONG(FactorChanges, 1, "warpgroup", "the product"),
    FW_WRONG(FactorRewritten, 1, "race", "writes the same again", "the product"),
    FW_WRONG(FactorNotFenced, 1, "fence", "writes and does not fence", "the product"),
    FW_WRONG(WarpMissing, 1, "deadlock", "three warps"),
    FW_WRONG(OtherFactors, 1, "warpgroup", "not the same for all"),
    FW_WRONG(ArrivesForOthers, 1, "race", "written by all lanes", "read when one has arrived"),
};

}  // namespace wrong
