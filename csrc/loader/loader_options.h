// How a loader makes batches from records.
#ifndef GLUON_RESNET_LOADER_OPTIONS_H_
#define GLUON_RESNET_LOADER_OPTIONS_H_

#include <cstddef>
#include <cstdint>

#include "images/decoder.h"
#include "loader/order.h"
#include "transforms/augment.h"

namespace gluon_resnet {

struct LoaderOptions {
  size_t batch_size = 1;
  TransformPlan plan;
  bool shuffle = false;
  uint64_t seed = 0;
  size_t threads = 1;
  size_t rank = 0;
  size_t world_size = 1;
  LastBatch last_batch = LastBatch::kPad;
  DType dtype = DType::kFloat32;
  Layout layout = Layout::kNchw;
  DecodeOptions decode;
  bool skip_errors = false;
  size_t prefetch = 3;     // batches in progress or ready, ahead of the consumer
  size_t cache_bytes = 0;  // for decoded images; 0: no cache
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_LOADER_OPTIONS_H_
