// Everything here is generated from FW_KERNELS and FW_FIELDS_*.
#include "schema.h"

#include <initializer_list>

#include "extents.h"

namespace fw {
namespace {

// Kinds as lib/backends/table.ts spells them.
#define FW_KIND(type, name) \
  const char* kind_of(const type&) { return name; }
FW_KIND(In, "in")
FW_KIND(InMaybe, "in?")
FW_KIND(Out, "out")
FW_KIND(OutMaybe, "out?")
FW_KIND(InOut, "inout")
FW_KIND(InOutMaybe, "inout?")
FW_KIND(Heads, "heads")
FW_KIND(HeadsMaybe, "heads?")
FW_KIND(List, "list")
FW_KIND(InOutList, "inoutList")
FW_KIND(Dims, "dims")
FW_KIND(Int, "int")
FW_KIND(Float, "float")
#undef FW_KIND

struct Field {
  const char* name;
  const char* kind;
};

Napi::Array describe(Napi::Env env, const char* name, std::initializer_list<Field> fields) {
  Napi::Array list = Napi::Array::New(env, fields.size());
  uint32_t at = 0;
  for (const Field& field : fields) {
    Napi::Array pair = Napi::Array::New(env, 2);
    pair[0u] = field.name;
    pair[1u] = field.kind;
    list[at++] = pair;
  }
  Napi::Array kernel = Napi::Array::New(env, 2);
  kernel[0u] = name;
  kernel[1u] = list;
  return kernel;
}

#define FW_READ(kind, field) reader.read(args.field);
#define FW_LAUNCH(kernel)                                                                    \
  void launch_##kernel(Environment& environment, const double* command, int64_t doubles) {   \
    kernel##Args args;                                                                       \
    Arguments reader(command, doubles, environment.blocks());                                \
    FW_FIELDS_##kernel(FW_READ)                                                              \
    check_extents(args);                                                                     \
    if (!reader.uses().writes() && !answers(args)) return;                                                     \
    if (!writes_all(args)) reader.uses().leave_gaps();                                       \
    environment.launch(environment.table().kernel, args, reader.take_lists(), reader.uses()); \
  }
FW_KERNELS(FW_LAUNCH)
#undef FW_LAUNCH
#undef FW_READ

}  // namespace

#define FW_ENTRY(kernel) {#kernel, launch_##kernel},
const Kernel kKernels[] = {FW_KERNELS(FW_ENTRY)};
#undef FW_ENTRY
const int kKernelCount = sizeof kKernels / sizeof *kKernels;

Napi::Array describe_kernels(Napi::Env env) {
  Napi::Array kernels = Napi::Array::New(env, kKernelCount);
  uint32_t at = 0;
#define FW_FIELD(kind, field) {#field, kind_of(kind{})},
#define FW_DESCRIBE(kernel) kernels[at++] = describe(env, #kernel, {FW_FIELDS_##kernel(FW_FIELD)});
  FW_KERNELS(FW_DESCRIBE)
#undef FW_DESCRIBE
#undef FW_FIELD
  return kernels;
}

}  // namespace fw
