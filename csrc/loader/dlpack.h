// DLPack (github.com/dmlc/dlpack): the C structures through which frameworks share tensors without
// copying, before version 1 and since, and a batch in that form.
#ifndef GLUON_RESNET_DLPACK_H_
#define GLUON_RESNET_DLPACK_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "loader/batch.h"
#include "transforms/augment.h"

namespace gluon_resnet {

struct DLDevice {
  int32_t device_type;  // 1: CPU
  int32_t device_id;
};

struct DLDataType {
  uint8_t code;  // 1: unsigned integer, 2: floating point
  uint8_t bits;
  uint16_t lanes;
};

struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; required since version 1.2
  uint64_t byte_offset;
};

struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor*);
};

struct DLPackVersion {
  uint32_t major;
  uint32_t minor;
};

constexpr uint64_t kDLPackIsCopied = 2;  // of DLManagedTensorVersioned::flags

struct DLManagedTensorVersioned {
  DLPackVersion version;
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;
  DLTensor dl_tensor;
};

// The data of `batch`, or a copy of them, with `shape` and `dtype`; Managed is one of the two
// structs above. The data stay on loan until the deleter is called, on any thread.
template <typename Managed>
Managed* make_dlpack(std::shared_ptr<BatchMemory> batch, const std::vector<int64_t>& shape,
                     DType dtype, bool copy) {
  struct Context {
    Managed tensor{};
    std::shared_ptr<BatchMemory> batch;
    std::vector<int64_t> shape;
    std::vector<int64_t> strides;
  };
  if (copy) {
    auto copied = std::make_shared<BatchMemory>(batch->rows, batch->row_bytes, 0);
    std::memcpy(copied->data.get(), batch->data.get(), batch->rows * batch->row_bytes);
    batch = std::move(copied);
  }
  auto context = std::make_unique<Context>();
  context->batch = std::move(batch);
  context->shape = shape;
  context->strides.assign(shape.size(), 1);
  for (size_t i = shape.size() - 1; i > 0; --i) {
    context->strides[i - 1] = context->strides[i] * shape[i];
  }
  const auto bits = static_cast<uint8_t>(8 * element_size(dtype));
  const uint8_t code = dtype == DType::kUint8 ? 1 : 2;
  context->tensor.dl_tensor = {context->batch->data.get(),
                               {1, 0},
                               static_cast<int32_t>(shape.size()),
                               {code, bits, 1},
                               context->shape.data(),
                               context->strides.data(),
                               0};
  if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) {
    context->tensor.version = {1, 0};
    context->tensor.flags = copy ? kDLPackIsCopied : 0;
  }
  context->tensor.manager_ctx = context.get();
  context->tensor.deleter = [](Managed* tensor) {
    delete static_cast<Context*>(tensor->manager_ctx);
  };
  return &context.release()->tensor;
}

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_DLPACK_H_
