#include "transforms/augment.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <opencv2/core.hpp>
#include <type_traits>

#include "base/error.h"
#include "transforms/rows.h"

namespace gluon_resnet {
namespace {

constexpr std::array<float, 3> kLuma{0.299f, 0.587f, 0.114f};
// Principal components of the RGB values (0 to 255) of ImageNet's training images, as in MXNet's
// LightingAug; Krizhevsky et al. 2012, whose idea this is, do not print them.
constexpr float kEigenvalues[3] = {55.46f, 4.794f, 1.148f};
constexpr float kEigenvectors[3][3] = {
    {-0.5675f, 0.7192f, 0.4009f}, {-0.5808f, -0.0045f, -0.8140f}, {-0.5836f, -0.6948f, 0.4203f}};

void whole_image(ImageSize size, ImageSize scaled, Geometry* geometry) {
  geometry->source = {0, 0, size.width, size.height};
  geometry->scaled = scaled;
}

// Ten tries, then the central region with the nearest allowed ratio, as in torchvision.
void draw_random_resized(const TransformPlan& plan, ImageSize size, Random* random,
                         Geometry* geometry) {
  geometry->scaled = {plan.size, plan.size};
  Region& region = geometry->source;
  const double area = static_cast<double>(size.width) * size.height;
  const double log_low = std::log(plan.ratio[0]);
  const double log_high = std::log(plan.ratio[1]);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * random->uniform(plan.area[0], plan.area[1]);
    const double ratio = std::exp(random->uniform(log_low, log_high));
    region.width = static_cast<int>(std::lround(std::sqrt(target * ratio)));
    region.height = static_cast<int>(std::lround(std::sqrt(target / ratio)));
    const bool fits = region.width <= size.width && region.height <= size.height;
    if (region.width < 1 || region.height < 1 || !fits) continue;
    region.x = static_cast<int>(random->integer(0, size.width - region.width));
    region.y = static_cast<int>(random->integer(0, size.height - region.height));
    return;
  }
  const double ratio = static_cast<double>(size.width) / size.height;
  region = {0, 0, size.width, size.height};
  if (ratio < plan.ratio[0]) {
    region.height = static_cast<int>(std::lround(size.width / plan.ratio[0]));
  } else if (ratio > plan.ratio[1]) {
    region.width = static_cast<int>(std::lround(size.height * plan.ratio[1]));
  }
  region.width = std::clamp(region.width, 1, size.width);
  region.height = std::clamp(region.height, 1, size.height);
  region.x = (size.width - region.width) / 2;
  region.y = (size.height - region.height) / 2;
}

// out = matrix * rgb + offset, for every pixel: color changes and normalization in one.
struct Affine {
  std::array<std::array<float, 3>, 3> matrix{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  std::array<float, 3> offset{0, 0, 0};

  bool diagonal() const {
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) {
        if (i != j && matrix[i][j] != 0) return false;
      }
    }
    return true;
  }
};

Affine make_affine(const TransformPlan& plan, const ColorDraw& color,
                   const std::array<float, 3>& image_mean) {
  Affine affine;
  float gray_mean = 0;  // of the image after the change of brightness
  for (int c = 0; c < 3; ++c) gray_mean += kLuma[c] * color.brightness * image_mean[c];
  const float scale = color.brightness * color.contrast;
  const float shift = (1 - color.contrast) * gray_mean;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      affine.matrix[i][j] =
          scale * ((i == j ? color.saturation : 0) + (1 - color.saturation) * kLuma[j]);
    }
    affine.offset[i] = shift + color.offset[i];  // saturation does not change a gray shift
    for (int j = 0; j < 3; ++j) affine.matrix[i][j] /= plan.std[i];
    affine.offset[i] = (affine.offset[i] - plan.mean[i]) / plan.std[i];
  }
  return affine;
}

template <typename T>
T to_element(float value);
template <>
float to_element<float>(float value) {
  return value;
}
template <>
cv::float16_t to_element<cv::float16_t>(float value) {
  return cv::float16_t(value);
}
template <>
uint8_t to_element<uint8_t>(float value) {
  return static_cast<uint8_t>(std::lrintf(std::clamp(value, 0.0f, 255.0f)));
}

// Element i of channel c goes to out[c * plane + i * step].
template <typename T, size_t step>
void write(const Affine& affine, const uint8_t* planes, size_t count, size_t plane, T* out) {
  const bool diagonal = affine.diagonal();
  const uint8_t* const red = planes;
  const uint8_t* const green = planes + count;
  const uint8_t* const blue = planes + 2 * count;
  for (int c = 0; c < 3; ++c) {
    const std::array<float, 3> m = affine.matrix[c];
    const float offset = affine.offset[c];
    T* const channel = out + c * plane;
    if (diagonal) {
      const float scale = m[c];
      const uint8_t* const own = planes + c * count;
      if constexpr (std::is_same_v<T, float> && step == 1) {
        row_loops().normalize(own, count, scale, offset, channel);
      } else {  // a byte has few values, each of which is rounded once
        std::array<T, 256> table;
        for (int value = 0; value < 256; ++value) {
          table[value] = to_element<T>(scale * static_cast<float>(value) + offset);
        }
        for (size_t i = 0; i < count; ++i) channel[i * step] = table[own[i]];
      }
    } else {
      for (size_t i = 0; i < count; ++i) {
        channel[i * step] =
            to_element<T>(m[0] * red[i] + m[1] * green[i] + m[2] * blue[i] + offset);
      }
    }
  }
}

template <typename T>
void write(const Affine& affine, const uint8_t* planes, size_t count, Layout layout, void* out) {
  if (layout == Layout::kNchw) {
    write<T, 1>(affine, planes, count, count, static_cast<T*>(out));
  } else {
    write<T, 3>(affine, planes, count, 1, static_cast<T*>(out));
  }
}

std::array<float, 3> mean_of(const uint8_t* planes, size_t count) {
  std::array<float, 3> mean;
  for (int c = 0; c < 3; ++c) {
    const uint8_t* const plane = planes + c * count;
    mean[c] = static_cast<float>(std::accumulate(plane, plane + count, uint64_t{0})) /
              static_cast<float>(count);
  }
  return mean;
}

}  // namespace

Geometry draw_geometry(const TransformPlan& plan, ImageSize size, Random* random) {
  Geometry geometry;
  geometry.size = plan.size;
  const int shorter = std::min(size.width, size.height);
  switch (plan.crop) {
    case Crop::kCenter: {
      const int target = plan.resize > 0 ? plan.resize : std::max(shorter, plan.size);
      whole_image(size, resize_short(size, target), &geometry);
      geometry.crop_x = (geometry.scaled.width - plan.size) / 2;
      geometry.crop_y = (geometry.scaled.height - plan.size) / 2;
      break;
    }
    case Crop::kRandomResized:
      draw_random_resized(plan, size, random, &geometry);
      break;
    case Crop::kScaleJitter: {
      const auto target = static_cast<int>(random->integer(plan.scale[0], plan.scale[1]));
      whole_image(size, resize_short(size, target), &geometry);
      geometry.crop_x = static_cast<int>(random->integer(0, geometry.scaled.width - plan.size));
      geometry.crop_y = static_cast<int>(random->integer(0, geometry.scaled.height - plan.size));
      break;
    }
    case Crop::kPad: {
      const int spare_x = size.width + 2 * plan.padding - plan.size;
      const int spare_y = size.height + 2 * plan.padding - plan.size;
      if (spare_x < 0 || spare_y < 0) {
        throw Error(ErrorKind::kImage, concat("the image of ", size.width, "x", size.height,
                                              " pixels is too small: ", "with ", plan.padding,
                                              " pixels of padding a crop of ", plan.size, "x",
                                              plan.size, " does not fit"));
      }
      whole_image(size, size, &geometry);
      geometry.crop_x = static_cast<int>(random->integer(0, spare_x)) - plan.padding;
      geometry.crop_y = static_cast<int>(random->integer(0, spare_y)) - plan.padding;
      break;
    }
  }
  // A strip of 1 x 100,000 pixels would become too large for memory.
  if (int64_t{geometry.scaled.width} * geometry.scaled.height > kMaxPixels) {
    throw Error(ErrorKind::kImage,
                concat("the image of ", size.width, "x", size.height, " pixels would be scaled to ",
                       geometry.scaled.width, "x", geometry.scaled.height));
  }
  geometry.flip = plan.flip && random->bits() >> 63 != 0;
  return geometry;
}

ColorDraw draw_color(const TransformPlan& plan, Random* random) {
  ColorDraw color;
  const auto factor = [&](float range) {
    return range > 0 ? static_cast<float>(random->uniform(1 - range, 1 + range)) : 1;
  };
  color.brightness = factor(plan.brightness);
  color.contrast = factor(plan.contrast);
  color.saturation = factor(plan.saturation);
  if (plan.pca_noise > 0) {
    for (int component = 0; component < 3; ++component) {
      const auto alpha = static_cast<float>(random->normal()) * plan.pca_noise;
      for (int c = 0; c < 3; ++c) {
        color.offset[c] += kEigenvectors[c][component] * kEigenvalues[component] * alpha;
      }
    }
  }
  return color;
}

size_t element_size(DType dtype) {
  return dtype == DType::kFloat32 ? 4 : dtype == DType::kFloat16 ? 2 : 1;
}

void finish(const TransformPlan& plan, const ColorDraw& color, const uint8_t* planes, DType dtype,
            Layout layout, void* out) {
  const size_t count = static_cast<size_t>(plan.size) * plan.size;
  std::array<float, 3> mean{0, 0, 0};
  if (color.contrast != 1) mean = mean_of(planes, count);
  const Affine affine = make_affine(plan, color, mean);
  switch (dtype) {
    case DType::kUint8:
      write<uint8_t>(affine, planes, count, layout, out);
      break;
    case DType::kFloat16:
      write<cv::float16_t>(affine, planes, count, layout, out);
      break;
    case DType::kFloat32:
      write<float>(affine, planes, count, layout, out);
      break;
  }
}

}  // namespace gluon_resnet
