//! The moving average of weights, by its definition.

mod common;

use common::{Net, devices, largest_difference};
use training::{WeightAverage, load_parameters, save_parameters};

#[test]
fn an_average_follows_its_definition_and_goes_on_from_a_file() {
    for device in devices() {
        let nets: Vec<Net> = (0..4).map(|seed| Net::random(8, 4, seed, &device)).collect();
        let values: Vec<Vec<Vec<f32>>> = nets.iter().map(Net::values).collect();
        let mut average = WeightAverage::new(0.9);
        nets[..3].iter().for_each(|net| average.update(net));
        let mix = |parameter: usize, place: usize| {
            let [first, second, third] = [0, 1, 2].map(|net| values[net][parameter][place]);
            0.9 * (0.9 * first + 0.1 * second) + 0.1 * third
        };
        let expected: Vec<Vec<f32>> = (0..4)
            .map(|parameter| (0..values[0][parameter].len()).map(|place| mix(parameter, place)).collect())
            .collect();
        let averaged = average.apply(nets[2].clone());
        assert!(largest_difference(&averaged.values(), &expected) < 1e-6);
        assert_eq!(nets[2].values(), values[2], "the model itself is as it was");

        // Saved as a model, and begun again with it.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("average.safetensors");
        save_parameters(&averaged, &path).unwrap();
        let mut again = WeightAverage::new(0.9);
        again.update(&load_parameters(nets[0].clone(), &path).unwrap());
        average.update(&nets[3]);
        again.update(&nets[3]);
        assert_eq!(average.apply(nets[3].clone()).values(), again.apply(nets[3].clone()).values());
    }
}
