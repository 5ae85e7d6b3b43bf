// The C structures of DLPack's stable ABI before version 1 (github.com/dmlc/dlpack), which every
// framework takes, and a batch in that form.
#ifndef GLUON_RESNET_DLPACK_H_
#define GLUON_RESNET_DLPACK_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "images/augment.h"
#include "loader/batch.h"

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
  int64_t* strides;  // null: C-contiguous
  uint64_t byte_offset;
};

struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor*);
};

// The data of `batch`, which stays lent until the deleter is called, on any thread.
inline DLManagedTensor* make_dlpack(std::shared_ptr<BatchMemory> batch,
                                    const std::vector<int64_t>& shape, DType dtype) {
  struct Context {
    DLManagedTensor tensor;
    std::shared_ptr<BatchMemory> batch;
    std::vector<int64_t> shape;
  };
  auto context = std::make_unique<Context>();
  context->batch = std::move(batch);
  context->shape = shape;
  const auto bits = static_cast<uint8_t>(8 * element_size(dtype));
  const uint8_t code = dtype == DType::kUint8 ? 1 : 2;
  context->tensor.dl_tensor = {context->batch->data.get(),
                               {1, 0},
                               static_cast<int32_t>(shape.size()),
                               {code, bits, 1},
                               context->shape.data(),
                               nullptr,
                               0};
  context->tensor.manager_ctx = context.get();
  context->tensor.deleter = [](DLManagedTensor* tensor) {
    delete static_cast<Context*>(tensor->manager_ctx);
  };
  return &context.release()->tensor;
}

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_DLPACK_H_
