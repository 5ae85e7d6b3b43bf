// The whole way of one image, from its bytes to the network's input: the same for the loader and
// for every predictor.
#ifndef GLUON_RESNET_IMAGE_PIPELINE_H_
#define GLUON_RESNET_IMAGE_PIPELINE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "augment.h"
#include "decoder.h"

namespace gluon_resnet {

// Owns the codec and all memory that an image needs on its way; one per thread.
class ImagePipeline {
 public:
  explicit ImagePipeline(const DecodeOptions& options = {});

  // Decodes as much of a JPEG or PNG as the transform needs, and writes 3 * size * size elements to
  // `out`. Throws Error(kImage).
  void run(const TransformPlan& plan, const uint8_t* bytes, size_t size, Random* random,
           DType dtype, Layout layout, void* out);

  // The same for an image that is there already, RGB.
  void run(const TransformPlan& plan, const Image& image, Random* random, DType dtype,
           Layout layout, void* out);

 private:
  // `image` starts at (x, y) of the upright image.
  void run(const TransformPlan& plan, const Geometry& geometry, const Image& image, int x, int y,
           Random* random, DType dtype, Layout layout, void* out);

  const DecodeOptions options_;
  Decoder decoder_;
  Image image_;
  ResampleScratch scratch_;
  std::vector<uint8_t> planes_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_IMAGE_PIPELINE_H_
