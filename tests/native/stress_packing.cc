// Packer and Checker under stress: random threads, cancels, damage and a full disk; what they make
// is compared with what one thread makes.

#include <filesystem>
#include <fstream>
#include <memory>
#include <set>

#include "base/read_file.h"
#include "images/decoder.h"
#include "packing/checker.h"
#include "packing/packer.h"
#include "scenario.h"

namespace gluon_resnet {
namespace {

using Content = Picture::Content;

void convert(void*, const uint8_t*, size_t size, Image* image, std::string* problem) {
  if (size % 2 == 0) {
    *problem = "this converter knows odd sizes only";
    return;
  }
  image->reshape(5, 4, 3);
  std::fill(image->pixels.begin(), image->pixels.end(), static_cast<uint8_t>(size));
}

// The same for the same (seed, number).
Picture draw_picture_to_pack(const std::string& file, uint64_t seed, uint64_t number) {
  Random random(seed, number, 1);
  Picture picture;
  picture.key = static_cast<int64_t>(number);
  picture.labels.assign(static_cast<size_t>(random.integer(1, 3)), static_cast<float>(number));
  picture.name = concat("picture ", number);
  const Content kinds[] = {Content::kBytes,  Content::kBytes, Content::kBytes,
                           Content::kPixels, Content::kFile,  Content::kNone};
  picture.content = kinds[random.integer(0, 5)];
  if (picture.content == Content::kBytes) picture.bytes = draw_payload(true, &random);
  if (picture.content == Content::kPixels) picture.pixels = draw_picture(&random);
  if (picture.content == Content::kFile) {
    picture.path = random.integer(0, 3) == 0 ? file + ".missing" : file;
    if (random.integer(0, 3) == 0) picture.size = random.integer(0, 4000);
  }
  if (picture.content == Content::kNone) picture.problem = "there is none";
  return picture;
}

struct Packed {
  std::string records;
  std::string index;
  std::vector<Packer::Failure> failures;
};

// Packs pictures [0, count); gives up after `limit` of them where that is less.
Packed pack(const std::string& file, const std::string& name, const PackOptions& options,
            uint64_t seed, uint64_t count, uint64_t limit, Scenario* scenario) {
  const std::string path = name + ".rec";
  const std::string index_path = name + ".idx";
  Packed packed;
  {
    Packer packer(path, index_path, options, convert, nullptr);
    for (uint64_t i = 0; i < std::min(count, limit); ++i) {
      Picture picture = draw_picture_to_pack(file, seed, i);
      while (!packer.submit(&picture, static_cast<int>(scenario->draw(0, 10)))) {
      }
    }
    if (limit >= count) {
      while (!packer.finish(static_cast<int>(scenario->draw(0, 10)))) {
      }
      scenario->require(packer.done() == count, "every picture is written or has failed");
      packed.failures = packer.failures();
      packed.records = read_file(path);
      packed.index = read_file(index_path);
      scenario->require(packer.bytes() == packed.records.size(), "bytes() is the file's size");
    }
  }
  std::filesystem::remove(path);
  std::filesystem::remove(index_path);
  return packed;
}

void pack_to_full_disk(const std::string& file, const std::string& name, const PackOptions& options,
                       uint64_t seed, Scenario* scenario) {
  const std::string index_path = name + "-full.idx";
  bool failed = false;
  try {
    Packer packer("/dev/full", index_path, options, convert, nullptr);
    for (uint64_t i = 0; i < 100; ++i) {
      Picture picture = draw_picture_to_pack(file, seed, i);
      while (!packer.submit(&picture, 10)) {
      }
    }
    while (!packer.finish(10)) {
    }
  } catch (const Error& error) {
    failed = error.kind == ErrorKind::kSystem;
  }
  scenario->require(failed, "a full disk is told");
  std::filesystem::remove(index_path);
}

// The keys of the records that one thread cannot decode.
std::set<int64_t> find_bad_keys(const RecordFile& records) {
  std::set<int64_t> bad;
  Decoder decoder;
  RecordBuffer buffer;
  Image image;
  for (size_t i = 0; i < records.size(); ++i) {
    try {
      const Record record = records.read(i, &buffer);
      decoder.open(record.payload, record.payload_size);
      decoder.decode(Color::kSource, &image);
    } catch (const Error&) {
      bad.insert(records.key(i));
    }
  }
  return bad;
}

}  // namespace

void stress_packer(const std::string& folder, Scenario* scenario) {
  const std::string name = concat(folder, "/packed-", scenario->number);
  const std::string file = name + ".jpg";
  {
    const std::vector<uint8_t> bytes = draw_payload(false, scenario->random());
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
  PackOptions options;
  options.pass_through = scenario->chance(40);
  options.verify = scenario->chance(70);
  options.center_crop = scenario->chance(30);
  options.resize = scenario->chance(50) ? static_cast<int>(scenario->draw(1, 60)) : 0;
  options.color = static_cast<Color>(scenario->draw(0, 2));
  options.encoding = scenario->chance(30) ? Format::kPng : Format::kJpeg;
  options.quality = options.encoding == Format::kPng ? 1 : 90;
  options.threads = static_cast<size_t>(scenario->draw(1, 16));
  const auto seed = static_cast<uint64_t>(scenario->draw(0, 999));
  const auto count = static_cast<uint64_t>(scenario->draw(0, 80));
  scenario->choices = concat("packing ", count, " pictures, threads ", options.threads);
  if (scenario->chance(10)) {
    pack_to_full_disk(file, name, options, seed, scenario);
  } else if (scenario->chance(40)) {
    pack(file, name, options, seed, count + 1,
         static_cast<uint64_t>(scenario->draw(0, 80)) % (count + 1), scenario);
  } else {
    const Packed many = pack(file, name, options, seed, count, count, scenario);
    options.threads = 1;
    const Packed one = pack(file, name, options, seed, count, count, scenario);
    const auto same = [](const Packer::Failure& a, const Packer::Failure& b) {
      return a.name == b.name && a.reason == b.reason;
    };
    scenario->require(many.records == one.records && many.index == one.index,
                      "the bytes do not depend on the number of threads");
    scenario->require(std::equal(many.failures.begin(), many.failures.end(), one.failures.begin(),
                                 one.failures.end(), same),
                      "the failures do not depend on the number of threads");
  }
  std::filesystem::remove(file);
}

void stress_checker(const std::vector<StressFile>& files, Scenario* scenario) {
  const StressFile& file = files[static_cast<size_t>(scenario->draw(0, 3))];
  const auto threads = static_cast<size_t>(scenario->draw(1, 16));
  scenario->choices = concat("checking ", file.path, ", threads ", threads);
  Checker checker(file.records, threads);
  if (scenario->chance(40)) {
    checker.wait(static_cast<int>(scenario->draw(0, 2)));
    return;
  }
  while (!checker.wait(static_cast<int>(scenario->draw(0, 10)))) {
  }
  scenario->require(checker.done() == file.records->size(), "every record has been looked at");
  std::set<int64_t> bad;
  for (const Checker::Failure& failure : checker.failures()) bad.insert(failure.key);
  scenario->require(bad == find_bad_keys(*file.records), "the failures are those of one thread");
}

}  // namespace gluon_resnet
