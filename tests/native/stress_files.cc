#include "stress_files.h"

#include <cstring>
#include <fstream>

#include "base/error.h"
#include "images/encoder.h"
#include "records/record_writer.h"

namespace gluon_resnet {
namespace {

constexpr int kFiles = 4;
constexpr int kRecords = 60;

void append(std::vector<uint8_t>* bytes, const void* data, size_t size) {
  const auto* const first = static_cast<const uint8_t*>(data);
  bytes->insert(bytes->end(), first, first + size);
}

void overwrite(const std::string& path, uint64_t offset, uint32_t value) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(offset));
  file.write(reinterpret_cast<const char*>(&value), sizeof(value));
}

// Turns a JPEG's quantization (0xdb) or Huffman tables (0xc4) into comments.
void hide_tables(uint8_t marker, std::vector<uint8_t>* bytes) {
  for (size_t i = 0; i + 1 < bytes->size(); ++i) {
    if ((*bytes)[i] == 0xff && (*bytes)[i + 1] == marker) (*bytes)[i + 1] = 0xfe;
  }
}

// Damage that a writer does not write.
void damage_record(const StressFile& file, size_t index, Random* random) {
  const uint64_t offset = file.records->offset(index);
  switch (random->integer(0, 2)) {
    case 0:  // the magic
      overwrite(file.path, offset, kRecordMagic ^ 0x100);
      break;
    case 1:  // a record that reaches past the end of the file
      overwrite(file.path, offset + 4, kMaxPartLength);
      break;
    default:  // a next part where a record should begin
      overwrite(file.path, offset + 4, 2u << 29 | 8);
  }
}

StressFile make_stress_file(const std::string& folder, int number, Random* random) {
  StressFile file{concat(folder, "/", number, ".rec"), concat(folder, "/", number, ".idx"), nullptr,
                  1000 * (uint64_t{1} + number)};
  const bool damaged = number > 0;
  RecordWriter writer(file.path, file.index_path);
  for (int i = 0; i < kRecords; ++i) {
    const bool damage = damaged && i > 0;
    const std::vector<uint8_t> payload = draw_payload(damage, random);
    const float labels[2] = {static_cast<float>(i), 0.5f};
    const size_t num_labels = damage && random->integer(0, 15) == 0 ? 2 : 1;
    writer.write(3 * i, labels, num_labels, file.first_id + i, payload.data(), payload.size());
  }
  writer.close();
  file.records = std::make_shared<RecordFile>(file.path, file.index_path);
  for (size_t i = 1; damaged && i < kRecords; ++i) {
    if (random->integer(0, 15) == 0) damage_record(file, i, random);
  }
  return file;
}

}  // namespace

Image draw_picture(Random* random) {
  Image image;
  image.reshape(static_cast<int>(random->integer(1, 48)), static_cast<int>(random->integer(1, 48)),
                random->integer(0, 3) == 0 ? 1 : 3);
  const auto slope = static_cast<size_t>(random->integer(1, 9));
  for (size_t i = 0; i < image.row_bytes() * image.height; ++i) {
    image.pixels[i] = static_cast<uint8_t>(i * slope + random->integer(0, 40));
  }
  return image;
}

std::vector<uint8_t> draw_payload(bool damage, Random* random) {
  Encoder encoder;
  const Image image = draw_picture(random);
  std::vector<uint8_t> bytes;
  if (random->integer(0, 3) == 0) {
    encoder.png(image, 1, &bytes);
  } else {
    encoder.jpeg(image, static_cast<int>(random->integer(40, 98)), &bytes);
  }
  if (random->integer(0, 7) == 0) {  // a record of several parts
    bytes.resize((bytes.size() + 3) / 4 * 4);
    append(&bytes, &kRecordMagic, 4);
    append(&bytes, "behind the image", 16);
  }
  if (!damage || random->integer(0, 3) != 0) return bytes;
  switch (random->integer(0, 4)) {
    case 0:
      bytes.resize(static_cast<size_t>(random->integer(0, static_cast<int64_t>(bytes.size()) - 1)));
      break;
    case 1:
      for (int i = 0; i < 8; ++i) {
        const auto at = random->integer(2, static_cast<int64_t>(bytes.size()) - 1);
        bytes[static_cast<size_t>(at)] = static_cast<uint8_t>(random->bits());
      }
      break;
    case 2:
      hide_tables(random->integer(0, 1) == 0 ? 0xdb : 0xc4, &bytes);
      break;
    case 3:
      bytes.assign({'G', 'I', 'F', '8', '9', 'a'});
      break;
    default:
      bytes.clear();
  }
  return bytes;
}

std::vector<StressFile> make_stress_files(const std::string& folder, uint64_t seed) {
  Random random(seed, 0, 0);
  std::vector<StressFile> files;
  for (int i = 0; i < kFiles; ++i) files.push_back(make_stress_file(folder, i, &random));
  return files;
}

}  // namespace gluon_resnet
