#include "transforms/image_pipeline.h"

#include <algorithm>

namespace gluon_resnet {
namespace {

// The factor by which the DCT can shrink the image such that the region cut out is still no smaller
// than the output.
int shrink_factor(const Geometry& geometry) {
  int factor = 8;
  while (factor > 1 && (geometry.source.width < factor * geometry.scaled.width ||
                        geometry.source.height < factor * geometry.scaled.height)) {
    factor /= 2;
  }
  return factor;
}

// The same geometry for a smaller image.
void shrink(ImageSize from, ImageSize to, Geometry* geometry) {
  const auto along = [](int begin, int length, int from, int to, int* new_begin, int* new_length) {
    const auto scaled = [&](int at) {
      return static_cast<int>((int64_t{at} * to + from / 2) / from);
    };
    *new_begin = std::min(scaled(begin), to - 1);
    *new_length = std::max(scaled(begin + length) - *new_begin, 1);
  };
  const Region source = geometry->source;
  Region& smaller = geometry->source;
  along(source.x, source.width, from.width, to.width, &smaller.x, &smaller.width);
  along(source.y, source.height, from.height, to.height, &smaller.y, &smaller.height);
}

}  // namespace

ImagePipeline::ImagePipeline(const DecodeOptions& options) : options_(options), decoder_(options) {}

void ImagePipeline::run(const TransformPlan& plan, const uint8_t* bytes, size_t size,
                        Random* random, DType dtype, Layout layout, void* out) {
  open(bytes, size);
  const Part part = decode(plan, random);
  augment(plan, part, random, dtype, layout, out);
}

void ImagePipeline::run(const TransformPlan& plan, const ImageView& image, Random* random,
                        DType dtype, Layout layout, void* out) {
  const Geometry geometry = draw_geometry(plan, {image.width, image.height}, random);
  augment(plan, {geometry, image}, random, dtype, layout, out);
}

ImageSize ImagePipeline::open(const uint8_t* bytes, size_t size) {
  size_ = decoder_.open(bytes, size);
  return size_;
}

ImagePipeline::Part ImagePipeline::decode(const TransformPlan& plan, Random* random) {
  Geometry geometry = draw_geometry(plan, size_, random);
  if (options_.fast) {
    const int factor = shrink_factor(geometry);
    if (factor > 1) shrink(size_, decoder_.shrink(factor), &geometry);
  }
  const Region region = footprint(geometry, plan.interpolation);
  decoder_.decode(Color::kRgb, region, &image_);
  return {geometry, image_, region.x, region.y};
}

ImageView ImagePipeline::decode() {
  decoder_.decode(Color::kRgb, &image_);
  return image_;
}

void ImagePipeline::augment(const TransformPlan& plan, const Part& part, Random* random,
                            DType dtype, Layout layout, void* out) {
  planes_.resize(3 * static_cast<size_t>(plan.size) * plan.size);
  resample(part.geometry, plan.interpolation, part.image, part.x, part.y, plan.fill, &scratch_,
           planes_.data());
  finish(plan, draw_color(plan, random), planes_.data(), dtype, layout, out);
}

}  // namespace gluon_resnet
