#include <fmt/ranges.h>
#include <sys/stat.h>

#include "tests/apps/program.h"

using namespace muonlab::test;

TEST_CASE("help, version, and what is wrong with a command line") {
  CHECK(contains(run_well({"--help"}), "Usage: muonlab COMMAND"));
  CHECK(run_well({"--version"}) == "muonlab 0.1.0\n");
  for (const std::string command : {"train", "sample", "eval", "bench", "info"}) {
    const std::string help = run_well({command, "--help"});
    CHECK(contains(help, "Usage: muonlab " + command));
    CHECK(run_well({command, "-h"}) == help);
    CHECK(run_well({"help", command}) == help);
  }
  const std::string help = run_well({"train", "--help"});
  for (const std::string option :
       {"--preset", "--n_layer", "--data", "--muon.momentum", "--schedule", "--config", "--resume",
        "--time_limit", "--grad_accum", "--eval_interval", "--checkpoint_interval", "--threads",
        "--[no_]bias"})
    CHECK(contains(help, option));

  check_error(run({}), 2, {"which command"});
  check_error(run({"trian"}), 2, {"'trian'", "did you mean 'train'?"});
  check_error(run({"train", "--n_layr", "3"}), 2, {"--n_layr", "did you mean --n_layer?"});
  check_error(run({"train", "--clip", "1"}), 2, {"--clip", "did you mean --grad_clip?"});
  check_error(run({"train", "--muon.momentun=0.9"}), 2,
              {"--muon.momentun", "did you mean --muon.momentum?"});
  check_error(run({"train", "--adamw.momentum", "0.9"}), 2,
              {"--adamw.momentum; those of adamw are beta1, beta2"});
  check_error(run({"train", "--preset", "tinny"}), 2, {"'tinny'", "did you mean 'tiny'?"});
  check_error(run({"train", "--optimizer", "moun"}), 2, {"'moun'", "did you mean 'muon'?"});
  check_error(run({"train", "--frobnicate"}), 2,
              {"there is no option --frobnicate; see muonlab train --help"});
  check_error(run({"eval", "--frobnicate"}), 2, {"see muonlab eval --help"});
  check_error(run({"train", "--preset", "foo"}), 2,
              {"'foo'", "tiny, shakespeare-cpu, shakespeare-mid, shakespeare-gpu, gpt2-124m"});
  check_error(run({"train", "--steps"}), 2, {"--steps needs a value: a whole number in [1,"});
  check_error(run({"train", "--out"}), 2, {"--out needs a value: run folder to make"});
  check_error(run({"train", "--out", "--quiet"}), 2, {"--out needs a value", "(found --quiet)"});
  check_error(run({"train", "--time-limit", "--steps=3"}), 2, {"--time_limit needs a value"});
  check_error(run({"train", "--steps="}), 2, {"--steps: ''", "expected a whole number"});
  check_error(run({"train", "somewhere"}), 2, {"'somewhere'"});
  check_error(run({"sample"}), 2, {"which run?"});
  check_error(run({"eval"}), 2, {"which run?"});
}

TEST_CASE("values out of range are refused by name, with what is allowed") {
  const TempFolder folder;
  const std::vector<std::pair<std::string, std::string>> bad{{"steps", "0"},
                                                             {"steps", "-3"},
                                                             {"steps", "1e99"},
                                                             {"steps", "12x"},
                                                             {"steps", ""},
                                                             {"lr", "-1"},
                                                             {"lr", "nan"},
                                                             {"lr", "inf"},
                                                             {"lr", "1e400"},
                                                             {"dropout", "1"},
                                                             {"dropout", "-0.1"},
                                                             {"batch", "0"},
                                                             {"batch", "999999999"},
                                                             {"n_embd", "0"},
                                                             {"n_layer", "-1"},
                                                             {"seed", "-1"},
                                                             {"threads", "-1"},
                                                             {"threads", "99999"},
                                                             {"warmup", "-1"},
                                                             {"grad_accum", "0"},
                                                             {"time_limit", "-1"},
                                                             {"weight_decay", "-1"},
                                                             {"schedule", "coffee"},
                                                             {"muon.momentum", "1.5"},
                                                             {"steps", "99999999999999999999"}};
  for (const auto& [name, value] : bad) {
    const Outcome outcome =
        run({"train", "--preset", "tiny", "--out", folder / "run", "--" + name, value});
    check_error(outcome, 2, {"--" + name, "'" + value + "'", "expected"});
  }
  CHECK(!fs::exists(folder / "run"));
}

TEST_CASE("sizes that do not go together are refused before a folder is made") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  check_error(run(train(run_folder, 4, {"--n_head", "3"})), 2, {"n_embd", "n_head"});
  check_error(run(train(run_folder, 4, {"--block_size", "100000"})), 2, {"block_size"});
  check_error(run({"train", "--preset", "gpt2-124m", "--out", run_folder}), 2, {"--data"});
  CHECK(!fs::exists(run_folder));
}

TEST_CASE("the CPU refuses precisions that it does not have before a folder is made") {
  const TempFolder folder;
  for (const std::string precision : {"tf32", "bf16"})
    check_error(run(train(folder / "run", 4, {"--device", "cpu", "--precision", precision})), 2,
                {"the CPU computes in f32 alone; --precision " + precision + " needs a GPU"});
  CHECK(!fs::exists(folder / "run"));
}

TEST_CASE("data that cannot be used are refused in one sentence") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  const auto with_data = [&](const std::string& name, const std::string& contents) {
    spill(folder / name, contents);
    return run(train(run_folder, 4, {"--data", folder / name}));
  };
  CHECK(run(train(run_folder, 4, {"--data", folder / "missing.txt"})).code != 0);
  check_error(run(train(run_folder, 4, {"--data", folder / "missing.txt"})), 1, {"missing.txt"});
  for (const auto& [name, contents] : std::vector<std::pair<std::string, std::string>>{
           {"empty.txt", ""},
           {"short.txt", "to be"},
           {"invalid.txt", std::string(500, 'a') + "\xff" + std::string(500, 'b')},
           {"header.bin", std::string(5000, 'x')}}) {
    const Outcome outcome = with_data(name, contents);
    INFO(name << ": " << outcome.err);
    CHECK((outcome.code == 1 || outcome.code == 2));
    CHECK(outcome.err.rfind("muonlab: ", 0) == 0);
    CHECK(count_of(outcome.err, "\n") == 1);
    if (name == "invalid.txt") CHECK(contains(outcome.err, "bytes"));
  }
  run_well(train(run_folder, 4, {"--data", folder / "invalid.txt", "--bytes"}));
}

TEST_CASE("a configuration file: sections, comments, quotes, and its errors by line") {
  const TempFolder folder;
  const std::string file = folder / "my.toml", run_folder = folder / "run";
  spill(file,
        "# a comment\n"
        "preset = tiny\n"
        "steps = 3   # and another\n"
        "builtin-size = \"20000\"\n"
        "threads = 1\n"
        "[muon]\n"
        "momentum = 0.8\n");
  run_well({"train", "--config", file, "--out", run_folder, "--seed", "7"});
  const std::string saved = slurp(run_folder + "/config.toml");
  for (const std::string line : {"steps = 3\n", "builtin_size = 20000\n", "muon.momentum = 0.8\n",
                                 "seed = 7\n", "n_layer = 2\n"})
    CHECK(contains(saved, line));
  // Flags win over the file, and the file over the preset.
  run_well({"train", "--config", file, "--out", folder / "flags", "--steps", "2"});
  CHECK(contains(slurp((folder / "flags") + "/config.toml"), "steps = 2\n"));

  const auto with = [&](const std::string& text) {
    spill(file, text);
    return run({"train", "--config", file, "--out", folder / "never"});
  };
  check_error(with("preset = tiny\nn_layr = 3\n"), 2,
              {"'n_layr'", "my.toml:2", "did you mean n_layer?"});
  check_error(with("steps = many\n"), 2, {"my.toml:1", "'many'"});
  check_error(with("\n\nsteps\n"), 2, {"my.toml:3", "'steps = value'", "a whole number"});
  check_error(with("= 3\n"), 2, {"my.toml:1", "name = value"});
  check_error(with("frobnicate = 3\n"), 2,
              {"'frobnicate'", "my.toml:1", "see muonlab train --help"});
  check_error(with("bias = maybe\n"), 2, {"my.toml:1", "--bias", "true or false"});
  check_error(with("data = \"open\n"), 2, {"my.toml:1", "quotes"});
  check_error(with(std::string("steps = 3\n\0\x01", 12)), 2, {"my.toml is no text"});
  check_error(with("resume = x\n"), 2, {"'resume'"});
  check_error(run({"train", "--config", folder / "none.toml", "--out", folder / "never"}), 1,
              {"none.toml"});
  // A device without an end, a pipe without a writer, and a file that is no configuration by its
  // size. Under the limit on memory, reading on would end soon.
  Setup setup;
  setup.address_space = std::size_t{4} << 30;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  spill(folder / "long", std::string((std::size_t{16} << 20) + 1, '#'));
  for (const auto& [path, reason] :
       {std::pair<std::string, std::string>{"/dev/zero", "no regular file"},
        {folder / "pipe", "no regular file"},
        {folder / "long", "more than 16 MiB"}})
    check_error(run({"train", "--config", path, "--out", folder / "never"}, setup), 1,
                {path, reason});
  CHECK(!fs::exists(folder / "never"));
}

TEST_CASE("a saved configuration reproduces its run, whatever the names and values in it") {
  const TempFolder folder;
  const std::string text = folder / "a name, with # and \"quotes\".txt";
  std::string words;
  for (int i = 0; i < 500; ++i) words += fmt::format("{} times {} is {}. ", i, i, i * i);
  spill(text, words);
  const std::string first = folder / "first", second = folder / "second";
  run_well(train(first, 10,
                 {"--data", text, "--optimizer", "muon", "--muon.momentum", "0.9", "--dropout",
                  "0.1", "--no-muon.nesterov", "--bias", "--grad-accum=2", "--weight-decay", "0.05",
                  "--seed", "123456789012345"}));
  run_well({"train", "--config", first + "/config.toml", "--out", second});
  CHECK(slurp(first + "/config.toml") == slurp(second + "/config.toml"));
  CHECK(weights_of(first) == weights_of(second));
  const std::string config = slurp(first + "/config.toml");
  for (const std::string line : {"muon.nesterov = false", "bias = true", "grad_accum = 2",
                                 "seed = 123456789012345", "dropout = 0.1"})
    CHECK(contains(config, line));
}

TEST_CASE("a flag that changes nothing is pointed out") {
  const TempFolder folder;
  const Outcome outcome = run(train(folder / "run", 2, {"--cooldown", "0.9"}));
  CHECK(outcome.code == 0);
  CHECK(contains(outcome.err, "--cooldown changes nothing: only the wsd schedule"));
  CHECK(run(train(folder / "muon", 2, {"--optimizer", "muon", "--muon.momentum", "0.9"}))
            .err.empty());
}

namespace {

/// The names in a call with keywords in the rival's program, from the line that holds `start`.
Arguments rival_fields(const std::string& start) {
  const std::string program = slurp(MUONLAB_SOURCE_DIR "/bench/rival_torch.py");
  const std::size_t begin = program.find(start);
  REQUIRE(begin != std::string::npos);
  Arguments names;
  std::string word;
  int depth = 0;
  for (std::size_t i = program.find('(', begin) + 1; depth >= 0; ++i) {
    const char c = program.at(i);
    depth += (c == '(' || c == '[') - (c == ')' || c == ']');
    if (c == '=' && depth == 0) names.push_back(word);
    word = std::isalnum(static_cast<unsigned char>(c)) || c == '_' ? word + c : "";
  }
  REQUIRE(names.size() >= 4);
  return names;
}

}  // namespace

TEST_CASE("with --json exactly one object is on standard output") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  const auto object = [](const std::string& out) {
    INFO(out);
    CHECK(out.front() == '{');
    CHECK(count_of(out, "\n") == 1);
    CHECK(out.substr(out.size() - 2) == "}\n");
    return out;
  };
  const std::string trained = object(run_well(train(run_folder, 6, {"--json"})));
  CHECK(field(trained, "status") == "finished");
  CHECK(field(trained, "step") == "6");
  CHECK(field(trained, "weights_sha256") == weights_of(run_folder));
  CHECK(!field(trained, "startup_s").empty());
  const std::string evaluated = object(run_well({"eval", run_folder, "--json", "--threads", "1"}));
  CHECK(field(evaluated, "val_loss") == field(trained, "val_loss"));
  CHECK(field(object(run_well({"info", run_folder, "--json"})), "val_loss") ==
        field(trained, "val_loss"));
  object(run_well({"info", "--json"}));
  const std::string bench = object(run_well({"bench", "--preset", "tiny", "--optimizer", "muon",
                                             "--steps", "3", "--threads", "1", "--json"}));
  for (const std::string& key :
       rival_fields("result = dict(") + rival_fields("(step_ms=") + Arguments{"startup_s"})
    CHECK(!field(bench, key).empty());
  CHECK(contains(bench, "\"linear\": "));
  CHECK(field(bench, "compile") == "false");
  CHECK(!field(object(run_well(
                   {"bench", "--preset", "tiny", "--generate", "20", "--threads", "1", "--json"})),
               "generate_tokens_per_s")
             .empty());
  // Errors leave it empty.
  CHECK(run({"eval", folder / "nothing", "--json"}).out.empty());
}

TEST_CASE("info describes the machine, a run, and a checkpoint") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  CHECK(contains(run_well({"info"}), "devices           cpu: "));
  run_well(train(run_folder, 6));
  const std::string text = run_well({"info", run_folder});
  for (const std::string part :
       {"step        6 of 6", "weights", "sha256", "blocks.1.attn.qkv.weight", "gain"})
    CHECK(contains(text, part));

  // The builtin corpus knows what no model beats on average.
  const std::string json = run_well({"info", run_folder, "--json"});
  const std::string evaluated = run_well({"eval", run_folder, "--json"});
  const double floor = std::stod(field(json, "val_floor")),
               entropy = std::stod(field(json, "source_entropy"));
  CHECK(floor == Approx(entropy).epsilon(0.2));
  CHECK(field(json, "above_floor") == field(evaluated, "above_floor"));
  CHECK(std::stod(field(json, "above_floor")) == std::stod(field(json, "val_loss")) - floor);
  for (const std::string& part :
       {fmt::format("floor       {:.4f} nats per token", floor),
        fmt::format("{:.4f} over all texts", entropy),
        fmt::format("{} above the floor",
                    fmt::format("{:.4f}", std::stod(field(json, "above_floor"))))})
    CHECK(contains(text, part));
  // On the subset, whose own floor is not known, none is shown; on other text there is none.
  const std::string best = run_folder + "/checkpoints/best.safetensors";
  CHECK(field(run_well({"info", best, "--json"}), "above_floor").empty());
  CHECK(!field(run_well({"info", best, "--json"}), "val_floor").empty());
  std::string words;
  for (int i = 0; i < 300; ++i) words += fmt::format("word {} ", i);
  spill(folder / "text.txt", words);
  run_well(train(folder / "text", 2, {"--data", folder / "text.txt"}));
  CHECK(field(run_well({"info", folder / "text", "--json"}), "val_floor").empty());
  CHECK(!contains(run_well({"info", folder / "text"}), "floor"));
  CHECK(field(run_well({"info", run_folder + "/checkpoints/best.safetensors", "--json"}), "step") ==
        "6");
  check_error(run({"info", folder / "nothing"}), 1, {"nothing"});
  check_error(run({"info", folder.path().string()}), 1, {"no checkpoint"});
  spill(folder / "notes.txt", "these are no tensors, whatever they may say");
  check_error(run({"info", folder / "notes.txt"}), 1, {"notes.txt is no checkpoint", "run folder"});
  spill(folder / "notes.safetensors", "these are no tensors, whatever they may say");
  check_error(run({"info", folder / "notes.safetensors"}), 1, {"notes.safetensors"});
  for (const std::string command : {"info", "sample", "eval"})
    check_error(run({command, run_folder + "/config.toml"}), 1, {"config.toml is no checkpoint"});
  check_error(run({"train", "--resume", run_folder + "/config.toml"}), 1,
              {"config.toml is no checkpoint"});
}

TEST_CASE("a preset of a rule stands before its options, wherever it is given") {
  const TempFolder folder;
  const auto trained = [&](const std::string& name, const Arguments& more) {
    run_well(train(folder / name, 1, Arguments{"--optimizer", "muon"} + more));
    return slurp((folder / name) + "/config.toml");
  };
  const std::string config = trained("a", {"--muon.momentum", "0.5", "--muon.preset", "heavyball"});
  CHECK(contains(config, "muon.momentum = 0.5\n"));
  CHECK(contains(config, "muon.coefficients = \"you5\"\n"));
  CHECK(config == trained("b", {"--muon.preset", "heavyball", "--muon.momentum", "0.5"}));
  check_error(
      run(train(folder / "c", 1,
                {"--optimizer", "muon", "--muon.preset", "keller", "--muon.preset", "torch"})),
      2, {"--muon.preset is given twice, as 'keller' and as 'torch'"});
  check_error(run({"train", "--preset", "tiny", "--preset", "gpt2-124m", "--out", folder / "c"}), 2,
              {"--preset is given twice"});
  CHECK(!fs::exists(folder / "c"));
}

TEST_CASE("bench shows what every rule costs on one preset") {
  const Arguments call{"bench",   "--preset", "tiny",      "--all_optimizers",
                       "--steps", "3",        "--threads", "1"};
  const std::string text = run_well(call), json = run_well(call + Arguments{"--json"});
  const std::size_t rules = count_of(json, "\"optimizer\": ");
  CHECK(rules >= 3);
  CHECK(count_of(text, "\n") == rules + 3);
  const auto of = [&](const std::string& rule, const std::string& key) {
    return std::stod(field(json.substr(json.find("\"optimizer\": \"" + rule + '"')), key));
  };
  CHECK(of("adamw", "state_per_weight") == 2);
  CHECK(of("adamw", "optimizer_ms") > 0);
  CHECK(of("muon", "gflop") > 10 * of("adamw", "gflop"));
  check_error(run(call + Arguments{"--optimizer", "muon"}), 2, {"--all_optimizers", "--optimizer"});
}
