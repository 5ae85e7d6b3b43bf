#include "image_pipeline.h"

#include <cstring>

namespace gluon_resnet {

void ImagePipeline::run(const TransformPlan& plan, const uint8_t* bytes, size_t size,
                        Random* random, DType dtype, Layout layout, void* out) {
  const Geometry geometry = draw_geometry(plan, decoder_.open(bytes, size), random);
  decoder_.decode(Color::kRgb, footprint(geometry, plan.interpolation), &image_);
  run(plan, geometry, image_, random, dtype, layout, out);
}

void ImagePipeline::run(const TransformPlan& plan, const Image& image, Random* random, DType dtype,
                        Layout layout, void* out) {
  const Geometry geometry = draw_geometry(plan, {image.width, image.height}, random);
  const Region covered = footprint(geometry, plan.interpolation);
  image_.reshape(covered.width, covered.height, 3);
  for (int y = 0; y < covered.height; ++y) {
    std::memcpy(image_.row(y), image.row(covered.y + y) + 3 * static_cast<size_t>(covered.x),
                image_.row_bytes());
  }
  run(plan, geometry, image_, random, dtype, layout, out);
}

void ImagePipeline::run(const TransformPlan& plan, const Geometry& geometry, const Image& image,
                        Random* random, DType dtype, Layout layout, void* out) {
  planes_.resize(3 * static_cast<size_t>(plan.size) * plan.size);
  resample(geometry, plan.interpolation, image, plan.fill, &scratch_, planes_.data());
  finish(plan, draw_color(plan, random), planes_.data(), dtype, layout, out);
}

}  // namespace gluon_resnet
