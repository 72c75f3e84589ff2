//! What real adapter files are told to be (`golden/adapters/make.py` wrote them).

use easel_diffusion::{Kind, Network, inspect};

use crate::golden::path;

#[test]
fn adapters_tell_their_network_and_ranks() {
    use Network::*;
    let cases: &[(&str, Network, &[u32])] = &[
        ("lora", Lora, &[4]),
        ("layout-kohya", Lora, &[4]),
        ("layout-kohya-ldm", Lora, &[4]),
        ("layout-diffusers", Lora, &[4]),
        ("layout-diffusers-old", Lora, &[4]),
        ("layout-processors", Lora, &[4]),
        ("layout-webui", Lora, &[4]),
        ("peft-lora", LoCon, &[4]),
        ("locon", LoCon, &[4]),
        ("locon-cp", LoCon, &[4]),
        ("loha", LoHa, &[4]),
        ("loha-cp", LoHa, &[4]),
        ("lokr", LoKr, &[1, 4]),
        ("lokr-cp", LoKr, &[2]),
        ("dora", DoRa, &[4]),
        ("dora-columns", DoRa, &[4]),
        ("doha-dokr", DoRa, &[1, 4]),
        ("peft-dora", DoRa, &[4]),
        ("ia3", Ia3, &[]),
        ("peft-ia3", Ia3, &[]),
        ("full", Full, &[]),
    ];
    for (name, network, ranks) in cases {
        let seen = inspect(&path(&format!("adapters/{name}.safetensors"))).unwrap();
        let facts = seen.adapter.clone().unwrap_or_else(|| panic!("{name}: {seen:?}"));
        assert_eq!(
            (seen.kind, facts.network, facts.ranks.as_slice()),
            (Kind::Lora, *network, *ranks),
            "{name}"
        );
        let json = serde_json::to_value(&seen).unwrap();
        assert_eq!(json["adapter"]["network"], format!("{network:?}"));
        assert_eq!(serde_json::from_value::<easel_diffusion::Inspection>(json).unwrap(), seen, "{name}");
    }
    assert_eq!(inspect(&path("tiny-sd1.safetensors")).unwrap().adapter, None);
}
