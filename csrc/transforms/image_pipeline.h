// The whole path of one image from its bytes to the network's input, which is the same for the
// loader and for every predictor.
#ifndef GLUON_RESNET_IMAGE_PIPELINE_H_
#define GLUON_RESNET_IMAGE_PIPELINE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "images/decoder.h"
#include "transforms/augment.h"

namespace gluon_resnet {

// Owns the codec and all memory that an image needs along the path; one per thread.
class ImagePipeline {
 public:
  explicit ImagePipeline(const DecodeOptions& options = {});

  // Decodes as much of a JPEG or PNG as the transform needs, and writes 3 * size * size elements to
  // `out`. Throws Error(kImage).
  void run(const TransformPlan& plan, const uint8_t* bytes, size_t size, Random* random,
           DType dtype, Layout layout, void* out);

  // The same for an image that is already decoded to RGB.
  void run(const TransformPlan& plan, const ImageView& image, Random* random, DType dtype,
           Layout layout, void* out);

  // The same in steps: open(), then one of the two decode(), whose pixels stay valid until the next
  // call, then augment().
  struct Part {
    Geometry geometry;
    ImageView image;  // starts at (x, y) of the upright image
    int x = 0;
    int y = 0;
  };
  ImageSize open(const uint8_t* bytes, size_t size);
  Part decode(const TransformPlan& plan, Random* random);
  ImageView decode();  // the whole image, RGB
  void augment(const TransformPlan& plan, const Part& part, Random* random, DType dtype,
               Layout layout, void* out);

  // Describes the last decode(); see Decoder.
  bool cut_short() const { return decoder_.cut_short(); }

 private:
  const DecodeOptions options_;
  Decoder decoder_;
  ImageSize size_;  // of the open image
  Image image_;
  ResampleScratch scratch_;
  std::vector<uint8_t> planes_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_IMAGE_PIPELINE_H_
