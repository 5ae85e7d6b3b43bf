// A libFuzzer target: whatever the bytes, decoding gives an image or an Error(kImage), a region has
// the pixels of the whole, and the pipeline gives of the bytes what it gives of the whole image.
//
// An input is an image's bytes. Regions and transforms are drawn from a hash of them, so that an
// input that fails is a picture which other programs open, too.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "base/error.h"
#include "images/decoder.h"
#include "images/encoder.h"
#include "require.h"
#include "transforms/image_pipeline.h"

namespace gluon_resnet {
namespace {

constexpr int kLongestSide = 256;  // of what is decoded here; more would only be slow
constexpr int kRegions = 3;
constexpr Color kColors[] = {Color::kRgb, Color::kGray, Color::kSource};
constexpr DType kDTypes[] = {DType::kUint8, DType::kFloat16, DType::kFloat32};
constexpr Interpolation kInterpolations[] = {Interpolation::kLinear, Interpolation::kLinear,
                                             Interpolation::kNearest, Interpolation::kArea,
                                             Interpolation::kCubic};

struct Bytes {
  const uint8_t* data;
  size_t size;
};

uint64_t hash(Bytes bytes) {  // FNV-1a
  uint64_t value = 0xcbf29ce484222325;
  for (size_t i = 0; i < bytes.size; ++i) value = (value ^ bytes.data[i]) * 0x100000001b3;
  return value;
}

// The region of the image, or all of it; nothing where it is refused, which only kImage may do.
std::optional<Image> decode(Decoder* decoder, Bytes bytes, Color color, const Region* region) {
  Image image;
  try {
    decoder->open(bytes.data, bytes.size);
    if (region != nullptr) {
      decoder->decode(color, *region, &image);
    } else {
      decoder->decode(color, &image);
    }
  } catch (const Error& error) {
    require(error.kind == ErrorKind::kImage, "an image's error is of kind kImage");
    return std::nullopt;
  }
  return image;
}

bool equal(const Image& a, const Image& b) {
  return a.width == b.width && a.height == b.height && a.channels == b.channels &&
         std::memcmp(a.pixels.data(), b.pixels.data(), a.row_bytes() * a.height) == 0;
}

bool is_part(const Image& part, const Region& region, const Image& whole) {
  if (part.width != region.width || part.height != region.height) return false;
  if (part.channels != whole.channels) return false;
  const size_t column = static_cast<size_t>(region.x) * whole.channels;
  for (int y = 0; y < part.height; ++y) {
    const uint8_t* const expected = whole.row(region.y + y) + column;
    if (std::memcmp(part.row(y), expected, part.row_bytes()) != 0) return false;
  }
  return true;
}

Region draw_region(ImageSize size, Random* random) {
  Region region;
  region.width = static_cast<int>(random->integer(1, size.width));
  region.height = static_cast<int>(random->integer(1, size.height));
  region.x = static_cast<int>(random->integer(0, size.width - region.width));
  region.y = static_cast<int>(random->integer(0, size.height - region.height));
  return region;
}

TransformPlan draw_plan(Random* random) {
  TransformPlan plan;
  plan.crop = static_cast<Crop>(random->integer(0, 3));
  plan.size = static_cast<int>(random->integer(1, 32));
  plan.resize = random->integer(0, 1) == 0 ? 0 : plan.size + 3;
  plan.scale = {plan.size, plan.size + 9};
  plan.fill = {1, 2, 3};
  plan.flip = true;
  plan.contrast = plan.saturation = random->integer(0, 1) == 0 ? 0.0f : 0.4f;
  plan.pca_noise = plan.contrast / 4;
  plan.interpolation = kInterpolations[random->integer(0, 4)];
  return plan;
}

// What the pipeline makes of `source`, which is Bytes or an Image; nothing where it is refused.
template <typename... Source>
std::optional<std::vector<uint8_t>> transform(const TransformPlan& plan, uint64_t seed,
                                              const Source&... source) {
  ImagePipeline pipeline;
  Random random(seed, 0, 0);
  const DType dtype = kDTypes[seed % 3];
  const Layout layout = seed % 2 == 0 ? Layout::kNchw : Layout::kNhwc;
  std::vector<uint8_t> out(3 * element_size(dtype) * plan.size * plan.size);
  try {
    pipeline.run(plan, source..., &random, dtype, layout, out.data());
  } catch (const Error& error) {
    require(error.kind == ErrorKind::kImage, "an image's error is of kind kImage");
    return std::nullopt;
  }
  return out;
}

// `reference` decodes the whole image by libjpeg alone, `tested` the whole and regions of it.
void compare(Decoder* reference, Decoder* tested, Bytes bytes, ImageSize size, Random* random) {
  const Color color = kColors[random->integer(0, 2)];
  const std::optional<Image> whole = decode(reference, bytes, color, nullptr);
  if (whole) {
    require(whole->width == size.width && whole->height == size.height,
            "an image has the size that open() says");
  }
  // The second time its tables are familiar, and also small images are decoded with them.
  for (int i = 0; i < 2; ++i) {
    const std::optional<Image> again = decode(tested, bytes, color, nullptr);
    require(whole.has_value() == again.has_value() && (!whole || equal(*whole, *again)),
            "an image decodes as by libjpeg alone, whatever came before it");
  }
  for (int i = 0; i < kRegions; ++i) {
    const Region region = draw_region(size, random);
    const std::optional<Image> part = decode(tested, bytes, color, &region);
    if (!whole) continue;  // what is damaged may lie outside of the region
    require(part.has_value(), "a region of a good image is good");
    require(is_part(*part, region, *whole), "a region has the pixels of the whole");
  }
}

void compare_transforms(Decoder* reference, Bytes bytes, uint64_t seed, Random* random) {
  const TransformPlan plan = draw_plan(random);
  const auto of_bytes = transform(plan, seed, bytes.data, bytes.size);
  const std::optional<Image> whole = decode(reference, bytes, Color::kRgb, nullptr);
  if (!whole) return;
  const auto of_image = transform(plan, seed, *whole);
  require(of_bytes == of_image, "the pipeline makes the same of bytes and of the whole image");
}

// A decoder that has seen bad bytes still decodes good ones.
void require_usable(Decoder* decoder) {
  static const auto* const good = [] {
    Image image;
    image.reshape(24, 17, 3);
    for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 5);
    Encoder encoder;
    std::vector<uint8_t> encoded;
    encoder.jpeg(image, 90, &encoded);
    Decoder fresh;
    return new std::pair(encoded,
                         *decode(&fresh, {encoded.data(), encoded.size()}, Color::kRgb, nullptr));
  }();
  const auto& [encoded, expected] = *good;
  const auto found = decode(decoder, {encoded.data(), encoded.size()}, Color::kRgb, nullptr);
  require(found && equal(*found, expected), "a decoder is as good as new after any image");
}

void run(Bytes bytes) {
  Decoder reference({false, false, true});
  Decoder tested;
  ImageSize size;
  try {
    size = reference.open(bytes.data, bytes.size);
  } catch (const Error& error) {
    require(error.kind == ErrorKind::kImage, "an image's error is of kind kImage");
    require_usable(&reference);
    return;
  }
  require(size.width > 0 && size.height > 0, "an image has pixels");
  if (std::max(size.width, size.height) > kLongestSide) return;
  const uint64_t seed = hash(bytes);
  Random random(seed, 0, 1);
  require_usable(&tested);  // with tables of its own, which the next image must not get
  compare(&reference, &tested, bytes, size, &random);
  compare_transforms(&reference, bytes, seed, &random);
  require_usable(&tested);
}

}  // namespace
}  // namespace gluon_resnet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gluon_resnet::run({data, size});
  return 0;
}
